use std::fmt::Debug;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::{Accumulate, ClipGradNorm, GradScaler, Noise, Penalty, Skip};
use crate::Error;
use crate::config;
use crate::error::at_least;
use crate::gpu::Recorder;
use crate::params::ParamStore;

/// The gradient transforms of a step, in the order of [`ORDER`]. None by default.
///
/// Set them with [`Optimizer::set_transforms`](crate::optim::Optimizer::set_transforms).
///
/// ```
/// use gradus::grad::{ClipGradNorm, Noise, Transforms};
/// use gradus::serde_json::json;
///
/// let typed = Transforms {
///     clip_grad_norm: Some(ClipGradNorm::new(1.0)),
///     noise: Some(Noise { eta: 1e-3, ..Noise::default() }),
///     ..Transforms::default()
/// };
/// let named = Transforms::from_json(&json!([
///     {"name": "clip_grad_norm", "max_norm": 1.0},
///     {"name": "noise", "eta": 1e-3},
/// ]))?;
/// assert_eq!(typed.to_json(), named.to_json());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Transforms {
    /// Custom transforms, applied one after the other.
    pub custom: Vec<Box<dyn Transform>>,
    /// Takes one step for several backward passes.
    pub accumulate: Option<Accumulate>,
    /// Scales the loss and divides gradients by the same factor. Skips steps whose gradients overflow, with or without
    /// `skip`.
    pub grad_scaler: Option<GradScaler>,
    /// Skips steps whose gradients are not finite.
    pub skip: Option<Skip>,
    /// Clips by norm.
    pub clip_grad_norm: Option<ClipGradNorm>,
    /// Clamps each gradient to `[-clip_grad_value, clip_grad_value]`; at least 0.
    pub clip_grad_value: Option<f64>,
    /// Adds noise.
    pub noise: Option<Noise>,
    /// Adds the gradients of penalties; several penalties on one tensor add up.
    pub penalties: Vec<Penalty>,
}

/// The order in which transforms are applied, and in which a JSON array must list them.
///
/// `penalty` may be listed several times.
pub const ORDER: [&str; 7] =
    ["accumulate", "grad_scaler", "skip", "clip_grad_norm", "clip_grad_value", "noise", "penalty"];

/// A custom transform, applied before all others: dispatches that change the gradients in place, as
/// [`Centralize`](super::Centralize) does.
///
/// The gradients are neither averaged nor unscaled yet, so the transform should be linear. Padding between tensors must
/// stay zero.
///
/// ```
/// use std::sync::Arc;
///
/// use gradus::gpu::{Binding, Kernel, KernelSource, Recorder};
/// use gradus::grad::Transform;
/// use gradus::{Error, ParamStore};
///
/// /// Makes the gradient of the tensor `w` its sign.
/// #[derive(Debug, Default)]
/// struct Signs(Option<(Arc<Kernel>, wgpu::BindGroup, u32)>);
///
/// # use gradus::wgpu;
/// impl Transform for Signs {
///     fn prepare(&mut self, params: &ParamStore) -> Result<(), Error> {
///         let kernel = params.gpu().kernel(&KernelSource {
///             name: "signs".into(),
///             wgsl: "@group(0) @binding(0) var<storage, read_write> grad: array<f32>;
///                 @compute @workgroup_size(64) fn main(@builtin(global_invocation_id) id: vec3u) {
///                     if id.x < arrayLength(&grad) { grad[id.x] = sign(grad[id.x]); }
///                 }"
///             .into(),
///             bindings: vec![Binding::ReadWrite],
///         })?;
///         let w = params.layout().span("w")?;
///         let group = params.gpu().bind_group(&kernel, &[params.grads().region_of(w)?])?;
///         self.0 = Some((kernel, group, w.len.div_ceil(64) as u32));
///         Ok(())
///     }
///
///     fn record(&mut self, recorder: &mut Recorder<'_>, _: &ParamStore) -> Result<(), Error> {
///         if let Some((kernel, group, workgroups)) = &self.0 {
///             recorder.dispatch(kernel, group, &[], [*workgroups, 1, 1]);
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Transform: Debug + Send + Sync {
    /// Creates the kernels, buffers and bind groups of its dispatches. Called before the first step, and again when the
    /// store has grown: the store then has new buffers, so all bind groups must be created again.
    ///
    /// # Errors
    /// Invalid options, or a store that the transform cannot handle.
    fn prepare(&mut self, params: &ParamStore) -> Result<(), Error>;

    /// Records its dispatches.
    ///
    /// # Errors
    /// Whatever prevents recording; the step is then not taken.
    fn record(&mut self, recorder: &mut Recorder<'_>, params: &ParamStore) -> Result<(), Error>;

    /// Identity in a checkpoint: a JSON object with its name and options. A run resumes only with transforms of the
    /// same identities. Default: an object without name and options, so that all such transforms count as the same.
    fn identity(&self) -> Value {
        json!({"name": "a transform without an identity"})
    }
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

    /// The JSON array that [`Transforms::from_json`] reads, with all options. Custom transforms are left out, because
    /// they have no such form.
    ///
    /// ```
    /// use gradus::grad::{ClipGradNorm, Transforms};
    /// use serde_json::json;
    ///
    /// let clips = Transforms { clip_grad_norm: Some(ClipGradNorm::report_only()), ..Transforms::default() };
    /// assert_eq!(clips.to_json(), json!([{
    ///     "name": "clip_grad_norm", "max_norm": "inf", "norm_type": 2.0, "variant": "torch", "per_group": false,
    ///     "error_if_nonfinite": false,
    /// }]));
    /// ```
    pub fn to_json(&self) -> Value {
        let Self {
            custom: _,
            accumulate,
            grad_scaler,
            skip,
            clip_grad_norm,
            clip_grad_value,
            noise,
            penalties,
        } = self;
        let mut all = Vec::new();
        all.extend(accumulate.iter().map(|accumulate| config::write("accumulate", accumulate)));
        all.extend(grad_scaler.iter().map(|scaler| config::write("grad_scaler", scaler)));
        all.extend(skip.iter().map(|skip| config::write("skip", skip)));
        all.extend(clip_grad_norm.iter().map(|clip| config::write("clip_grad_norm", clip)));
        all.extend(
            clip_grad_value.iter().map(|value| json!({"name": "clip_grad_value", "clip_value": value})),
        );
        all.extend(noise.iter().map(|noise| config::write("noise", noise)));
        all.extend(penalties.iter().map(|penalty| config::write("penalty", penalty)));
        all.into()
    }

    /// Identity in a checkpoint: the [`Transform::identity`] of each custom transform, then [`Transforms::to_json`].
    pub fn identity(&self) -> Value {
        let mut all: Vec<Value> = self.custom.iter().map(|custom| custom.identity()).collect();
        all.extend(self.to_json().as_array().into_iter().flatten().cloned());
        all.into()
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

    /// Whether a pass over the gradients must precede the rule.
    pub(crate) fn need_norm_reduction(&self) -> bool {
        self.may_skip() || self.clip_grad_norm.is_some()
    }

    /// The value of all penalties at the current parameters.
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

    /// Factor of the sum of accumulated gradients.
    pub(crate) fn scale(&self) -> f64 {
        self.accumulate.as_ref().map_or(1.0, Accumulate::scale)
    }
}
