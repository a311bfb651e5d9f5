use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::config;
use crate::error::{Error, half_open};

/// An average of the weights that is kept beside them, for evaluation: torch's `AveragedModel`.
///
/// Updates are counted from 1 for each tensor, starting when the optimizer was
/// [given](crate::optim::Optimizer::set_averages) the average. Skipped steps, and steps in which the tensor is frozen,
/// do not count. The parameters after updates `start + 1`, `start + 1 + every` and so on enter the average; the first
/// of them is copied. Before that, the average of a tensor is its value before its first update; without any update it
/// is the tensor's current value.
///
/// As JSON, an object with the `kind`, `ema` or `swa`, and the fields of [`Ema`] or [`Swa`].
///
/// ```
/// use gradus::optim::{Averages, Ema, Swa};
/// use serde_json::json;
///
/// let ema = Averages::from_json(&json!({"kind": "ema", "decay": 0.99}))?;
/// assert_eq!(ema, Ema::new(0.99).into());
/// assert_eq!(Averages::from(Swa::default()).to_json()["every"], 1);
/// # Ok::<(), gradus::Error>(())
/// ```
///
/// Source: <https://docs.pytorch.org/docs/2.15/optim.html#weight-averaging-swa-and-ema>. Differs: torch counts calls of
/// `update_parameters` for all tensors together, and averages of frozen tensors keep moving towards them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum Averages {
    /// An exponential moving average.
    Ema(Ema),
    /// The mean.
    Swa(Swa),
}

/// The exponential moving average of the weights: `average <- average + (1 - decay) * (weights - average)`.
///
/// It is kept in f32, as in torch. The rounding errors of all updates add up to at most `2^-24 / (1 - decay)` times the
/// largest magnitude that the tensor has had: 6e-5 times with the default decay.
///
/// Source: torch 2.15, `torch.optim.swa_utils.get_ema_multi_avg_fn`. Differs: a decay of 1, which torch allows and
/// which would keep the first weights forever, is refused; `warmup` is TensorFlow's.
///
/// ```
/// use gradus::optim::{Averages, Ema};
///
/// let average = Ema { decay: 0.99, start: 100, ..Ema::default() };
/// assert_eq!(Averages::from(average).to_json()["decay"], 0.99);
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ema {
    /// Fraction of the average that an update keeps, in `[0, 1)`. Default 0.999.
    pub decay: f64,
    /// Whether to limit the decay to `(1 + n) / (10 + n)` after `n` counted updates, so that an early average does not
    /// stay close to the first weights. It is TensorFlow's `num_updates`. Default false.
    ///
    /// Source: <https://www.tensorflow.org/api_docs/python/tf/train/ExponentialMovingAverage>.
    pub warmup: bool,
    /// Updates before the first one that enters. Default 0.
    pub start: u64,
    /// Number of updates from one that enters to the next, at least 1. Default 1.
    pub every: u64,
    /// Whether [buffers](crate::ParamStore::buffers), such as running statistics, are averaged too. Their count is that
    /// of the tensor with the most updates in the step, and they take a small dispatch of their own. Otherwise, and
    /// until an update has entered, the average uses the current buffers. Default false.
    pub use_buffers: bool,
}

/// The mean of the weights, for stochastic weight averaging (Izmailov et al. 2018, arXiv:1803.05407):
/// `average <- average + (weights - average) / (n + 1)` where `n` updates were counted before.
///
/// It is usually combined with the schedule [`SWALR`](crate::schedule::SWALR); statistics of batch normalisations are
/// recomputed for it by [`Trainer::update_bn`](crate::train::Trainer::update_bn). It is kept in f32, as in torch:
/// rounding errors add up to at most `n / 2 * 2^-24` times the largest magnitude that the tensor has had.
///
/// Source: torch 2.15, `torch.optim.swa_utils.get_swa_multi_avg_fn`.
///
/// ```
/// use gradus::optim::{Averages, Swa};
///
/// let average = Swa { start: 1000, every: 50, ..Swa::default() };
/// Averages::from(average).check()?;
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Swa {
    /// Updates before the first one that enters. Default 0.
    pub start: u64,
    /// Number of updates from one that enters to the next, at least 1. Default 1.
    pub every: u64,
    /// As [`Ema::use_buffers`]. Default false.
    pub use_buffers: bool,
}

impl Default for Ema {
    fn default() -> Self {
        Self { decay: 0.999, warmup: false, start: 0, every: 1, use_buffers: false }
    }
}

impl Ema {
    /// An average of every update, with this decay.
    #[must_use]
    pub fn new(decay: f64) -> Self {
        Self { decay, ..Self::default() }
    }
}

impl Default for Swa {
    fn default() -> Self {
        Self { start: 0, every: 1, use_buffers: false }
    }
}

impl From<Ema> for Averages {
    fn from(ema: Ema) -> Self {
        Self::Ema(ema)
    }
}

impl From<Swa> for Averages {
    fn from(swa: Swa) -> Self {
        Self::Swa(swa)
    }
}

impl Averages {
    /// From a JSON object with `kind` and the fields of that kind.
    ///
    /// # Errors
    /// [`Error::UnknownName`] and [`Error::Config`] for a kind or field that does not exist, or of another type;
    /// [`Error::Constant`] as [`Averages::check`].
    pub fn from_json(json: &Value) -> Result<Self, Error> {
        let refuse = |reason: String| Error::Config { what: "averages".into(), reason };
        let fields = json.as_object().ok_or_else(|| refuse(format!("expected an object, got {json}")))?;
        let kind = match fields.get("kind") {
            Some(Value::String(kind)) => kind,
            Some(other) => return Err(refuse(format!("kind: expected a string, got {other}"))),
            None => return Err(refuse("missing field `kind`".into())),
        };
        let rest = |fields: &Map<String, Value>| {
            let mut rest = fields.clone();
            rest.remove("kind");
            rest
        };
        let averages = match kind.as_str() {
            "ema" => Self::Ema(config::read("averages", kind, &rest(fields))?),
            "swa" => Self::Swa(config::read("averages", kind, &rest(fields))?),
            _ => return Err(Error::unknown("kind of averages", kind, ["ema", "swa"])),
        };
        averages.check()?;
        Ok(averages)
    }

    /// The JSON object that [`Averages::from_json`] reads.
    pub fn to_json(&self) -> Value {
        serde_json::to_value(self).expect("options are plain values")
    }

    /// Refuses options that are out of range.
    ///
    /// # Errors
    /// [`Error::Constant`] with the option, its range and its value.
    pub fn check(&self) -> Result<(), Error> {
        if let Self::Ema(ema) = self {
            half_open("decay", ema.decay, 0.0, 1.0)?;
        }
        match self.every() {
            0 => Err(Error::constant("every", "at least 1", 0)),
            _ => Ok(()),
        }
    }

    /// `ema` or `swa`.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Ema(_) => "ema",
            Self::Swa(_) => "swa",
        }
    }

    pub(crate) fn uses_buffers(&self) -> bool {
        match self {
            Self::Ema(Ema { use_buffers, .. }) | Self::Swa(Swa { use_buffers, .. }) => *use_buffers,
        }
    }

    fn start(&self) -> u64 {
        match self {
            Self::Ema(Ema { start, .. }) | Self::Swa(Swa { start, .. }) => *start,
        }
    }

    fn every(&self) -> u64 {
        match self {
            Self::Ema(Ema { every, .. }) | Self::Swa(Swa { every, .. }) => *every,
        }
    }

    /// How many of a tensor's first `updates` updates have entered its average: torch's `n_averaged`.
    pub(crate) fn counted(&self, updates: u64) -> u64 {
        updates.saturating_sub(self.start()).div_ceil(self.every())
    }

    /// The number of updates when the `n`-th one enters; 0 for `n` = 0.
    pub(crate) fn updates(&self, n: u64) -> u64 {
        let more = |n: u64| n.saturating_mul(self.every()).saturating_add(self.start()).saturating_add(1);
        n.checked_sub(1).map_or(0, more)
    }

    /// The factors of the average and of the weights in a tensor's update number `update`, from 1; `None` if it does
    /// not enter.
    pub(crate) fn parts(&self, update: u64) -> Option<(f64, f64)> {
        let before = self.counted(update.checked_sub(1)?);
        if self.counted(update) == before {
            return None;
        }
        let n = before as f64;
        Some(match self {
            _ if before == 0 => (0.0, 1.0),
            Self::Ema(Ema { decay, warmup: true, .. }) => {
                let least = (1.0 + n) / (10.0 + n);
                if least < *decay { (least, 9.0 / (10.0 + n)) } else { (*decay, 1.0 - decay) }
            }
            Self::Ema(Ema { decay, .. }) => (*decay, 1.0 - decay),
            Self::Swa(_) => (n / (n + 1.0), 1.0 / (n + 1.0)),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn updates_count_from_start_in_steps_of_every() {
        let swa = Averages::from(Swa { start: 6, every: 4, ..Swa::default() });
        let entering: Vec<u64> = (1..20).filter(|&update| swa.parts(update).is_some()).collect();
        assert_eq!(entering, [7, 11, 15, 19]);
        assert_eq!([0, 6, 7, 10, 11].map(|updates| swa.counted(updates)), [0, 0, 1, 1, 2]);
        assert_eq!([7, 11, 15].map(|update| swa.parts(update).unwrap().1), [1.0, 0.5, 1.0 / 3.0]);
        for n in 0..5 {
            let updates = swa.updates(n);
            assert_eq!(swa.counted(updates), n);
            assert!(n == 0 || swa.parts(updates).is_some());
        }
    }

    #[test]
    fn a_warm_up_bounds_the_decay() {
        let decay = |warmup, update| Averages::from(Ema { warmup, ..Ema::new(0.9) }).parts(update).unwrap();
        assert_eq!((decay(false, 1), decay(true, 1)), ((0.0, 1.0), (0.0, 1.0)));
        assert_eq!((decay(false, 2).0, decay(true, 2).0, decay(true, 3).0), (0.9, 2.0 / 11.0, 3.0 / 12.0));
        assert_eq!((decay(true, 82).0, decay(true, 10_000)), (0.9, (0.9, 1.0 - 0.9)));
        for update in [2, 50, 82, 83] {
            let (stays, comes) = decay(true, update);
            assert!((stays + comes - 1.0).abs() < 1e-15);
        }
    }

    #[test]
    fn json_is_strict() {
        let refused = |json: Value| Averages::from_json(&json).unwrap_err().to_string();
        let rows = [
            (json!([]), "averages: expected an object, got []"),
            (json!({"decay": 0.5}), "averages: missing field `kind`"),
            (json!({"kind": 1}), "averages: kind: expected a string, got 1"),
            (
                json!({"kind": "emma"}),
                "unknown kind of averages \"emma\", did you mean \"ema\"?; known: ema, swa",
            ),
            (
                json!({"kind": "swa", "decay": 0.5}),
                "unknown field of swa \"decay\"; known: start, every, use_buffers",
            ),
            (
                json!({"kind": "ema", "every": 1.5}),
                "averages ema: every: invalid type: floating point `1.5`, expected u64",
            ),
            (json!({"kind": "ema", "decay": 1}), "decay must be in [0, 1), got 1"),
            (json!({"kind": "ema", "decay": -0.1}), "decay must be in [0, 1), got -0.1"),
            (json!({"kind": "swa", "every": 0}), "every must be at least 1, got 0"),
        ];
        for (json, message) in rows {
            assert_eq!(refused(json), message);
        }
        for averages in [Averages::from(Ema { start: 3, ..Ema::new(0.5) }), Swa::default().into()] {
            assert_eq!(Averages::from_json(&averages.to_json()).unwrap(), averages);
            let text = serde_json::to_string(&averages).unwrap();
            assert_eq!(serde_json::from_str::<Averages>(&text).unwrap(), averages);
        }
        assert!(serde_json::from_value::<Averages>(json!({"kind": "swa", "decay": 0.5})).is_err());
        assert!(Averages::from(Ema::new(f64::NAN)).check().is_err());
    }
}
