use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::{Accumulate, ClipGradNorm, GradScaler, Noise, Penalty, Skip};
use crate::Error;
use crate::config;
use crate::error::at_least;
use crate::gpu::Recorder;
use crate::params::ParamStore;

/// What happens to the gradients of a step, in the order of [`ORDER`]. Nothing by default.
///
/// It is given to [`Optimizer::set_transforms`](crate::optim::Optimizer::set_transforms).
#[derive(Debug, Default)]
pub struct Transforms {
    /// Transforms of the caller's own, one after the other.
    pub custom: Vec<Box<dyn Transform>>,
    /// Several backward passes to a step.
    pub accumulate: Option<Accumulate>,
    /// A factor of the loss that is divided out. It skips steps, with or without `skip`.
    pub grad_scaler: Option<GradScaler>,
    /// Skips steps whose gradients are not finite.
    pub skip: Option<Skip>,
    /// Clips by norm.
    pub clip_grad_norm: Option<ClipGradNorm>,
    /// Holds each gradient within minus and plus this, at least 0.
    pub clip_grad_value: Option<f64>,
    /// Adds noise.
    pub noise: Option<Noise>,
    /// Adds the gradients of penalties; those on one tensor add up.
    pub penalties: Vec<Penalty>,
}

/// The order in which transforms are applied, and the only one in which they may be listed.
///
/// `penalty` may come several times.
pub const ORDER: [&str; 7] =
    ["accumulate", "grad_scaler", "skip", "clip_grad_norm", "clip_grad_value", "noise", "penalty"];

/// A transform of one's own, before all others: dispatches that change the gradients where they lie, as
/// [`Centralize`](super::Centralize) does.
///
/// They are neither averaged nor unscaled yet, so it should be linear; and padding between tensors must stay zero.
pub trait Transform: Debug + Send + Sync {
    /// Makes what its dispatches need: kernels, buffers and bind groups. Called before the first step, and
    /// again when the store has grown: then its buffers are others, and so are all bind groups.
    ///
    /// # Errors
    /// What is wrong with its options or with the store.
    fn prepare(&mut self, params: &ParamStore) -> Result<(), Error>;

    /// Records its dispatches.
    ///
    /// # Errors
    /// What cannot be recorded; the step is then not taken.
    fn record(&mut self, recorder: &mut Recorder<'_>, params: &ParamStore) -> Result<(), Error>;
}

impl Transforms {
    /// The transforms of a JSON array, each an object with its `name`, in the order of [`ORDER`].
    ///
    /// # Errors
    /// [`Error::UnknownName`] and [`Error::Config`] for a name or field that does not exist, a field of another
    /// type, a transform that comes twice or in another order; [`Error::Constant`] for one out of its range.
    pub fn from_json(json: &Value) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Config { what: "transforms".into(), reason };
        let list = json.as_array().ok_or_else(|| refuse(format!("expected an array, got {json}")))?;
        let mut transforms = Self::default();
        let mut before: Option<usize> = None;
        for entry in list {
            let (name, fields) = config::named("transform", entry)?;
            let place = ORDER.iter().position(|known| *known == name);
            let place = place.ok_or_else(|| Error::unknown("transform", &name, ORDER))?;
            if before == Some(place) && name != "penalty" {
                return Err(refuse(format!("{name} comes twice")));
            }
            if let Some(earlier) = before.filter(|&earlier| earlier > place) {
                let order = ORDER.join(", ");
                return Err(refuse(format!(
                    "{name} cannot come after {}: the order is {order}",
                    ORDER[earlier]
                )));
            }
            before = Some(place);
            transforms.add(&name, &fields)?;
        }
        transforms.check()?;
        Ok(transforms)
    }

    fn add(&mut self, name: &str, fields: &Map<String, Value>) -> Result<(), Error> {
        fn read<T: DeserializeOwned>(name: &str, fields: &Map<String, Value>) -> Result<T, Error> {
            config::read("transform", name, fields)
        }
        #[derive(serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct ClipGradValue {
            clip_value: f64,
        }
        match name {
            "accumulate" => self.accumulate = Some(read(name, fields)?),
            "grad_scaler" => self.grad_scaler = Some(read(name, fields)?),
            "skip" => self.skip = Some(read(name, fields)?),
            "clip_grad_norm" => self.clip_grad_norm = Some(read(name, fields)?),
            "clip_grad_value" => {
                self.clip_grad_value = Some(read::<ClipGradValue>(name, fields)?.clip_value);
            }
            "noise" => self.noise = Some(read(name, fields)?),
            _ => self.penalties.push(read(name, fields)?),
        }
        Ok(())
    }

    /// Refuses options that are out of range.
    ///
    /// # Errors
    /// [`Error::Constant`] with the option, its range and its value.
    pub fn check(&self) -> Result<(), Error> {
        self.accumulate.as_ref().map_or(Ok(()), Accumulate::check)?;
        self.grad_scaler.as_ref().map_or(Ok(()), GradScaler::check)?;
        self.skip.as_ref().map_or(Ok(()), Skip::check)?;
        self.clip_grad_norm.as_ref().map_or(Ok(()), ClipGradNorm::check)?;
        self.clip_grad_value.map_or(Ok(()), |value| at_least("clip_grad_value", value, 0.0))?;
        self.noise.as_ref().map_or(Ok(()), Noise::check)?;
        self.penalties.iter().try_for_each(Penalty::check)
    }

    /// Whether a step may be skipped.
    #[must_use]
    pub fn may_skip(&self) -> bool {
        self.skip.is_some() || self.grad_scaler.is_some()
    }

    /// Whether the gradients have to be looked at before the rule sees them.
    pub(crate) fn need_norm_reduction(&self) -> bool {
        self.may_skip() || self.clip_grad_norm.is_some()
    }

    /// The value of all penalties, from the parameters as they are now.
    pub(crate) async fn read_penalty(&self, params: &ParamStore) -> Result<f64, Error> {
        let mut total = 0.0;
        for (span, [l1, l2]) in
            params.layout().spans().iter().zip(Penalty::factors(&self.penalties, params.layout())?)
        {
            if (l1, l2) != (0.0, 0.0) {
                let of = |p: f32| l1 * f64::from(p).abs() + l2 * f64::from(p).powi(2);
                total += params.read_async(&span.name).await?.into_iter().map(of).sum::<f64>();
            }
        }
        Ok(total)
    }

    /// What the sum of accumulated gradients is multiplied by.
    pub(crate) fn scale(&self) -> f64 {
        self.accumulate.as_ref().map_or(1.0, Accumulate::scale)
    }
}
