use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;

use super::{Point, Schedule, rate_at};
use crate::config;
use crate::error::{Error, at_least, countable, half_open};

/// Reduces the rate when a metric stops improving.
///
/// Receives a metric through [`Schedule::observe`], usually once per epoch; the rate does not depend on the step. A
/// metric improves if it beats the best one so far by the threshold. After more than `patience` metrics in a row
/// without improvement, outside of a cooldown, the rate of each group is multiplied by `factor`: `lr = max(lr *
/// factor, min_lr)`, unless that changes it by no more than `eps`.
///
/// Source: PyTorch 2.15, `torch.optim.lr_scheduler.ReduceLROnPlateau`. Differs: NaN is refused, where PyTorch counts
/// it as no improvement; one `min_lr` for all groups; a negative `factor` is refused, and a relative threshold of 1
/// or more in mode `Min`. As in PyTorch, a relative threshold has the wrong sign for a negative metric.
///
/// ```
/// use gradus::schedule::{ReduceLROnPlateau, Schedule};
///
/// let mut schedule = ReduceLROnPlateau { patience: 1, ..Default::default() };
/// for loss in [0.9, 0.5, 0.6, 0.6] {
///     assert_eq!(schedule.at(0, 1.0)?.lr, 1.0);
///     schedule.observe(loss)?;
/// }
/// assert_eq!(schedule.at(0, 1.0)?.lr, 0.1);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ReduceLROnPlateau {
    /// Whether lower or higher is better. Default [`MetricMode::Min`].
    pub mode: MetricMode,
    /// Factor of a reduction, in `[0, 1)`. Default 0.1.
    pub factor: f64,
    /// Number of metrics in a row that may lack improvement. Default 10.
    pub patience: u64,
    /// By how much a metric must improve, at least 0. Default 1e-4.
    pub threshold: f64,
    /// Whether the threshold is relative or absolute. Default [`ThresholdMode::Rel`].
    pub threshold_mode: ThresholdMode,
    /// Number of metrics after a reduction that are not counted as lacking improvement. Default 0.
    pub cooldown: u64,
    /// The lowest rate, at least 0. Default 0.
    pub min_lr: f64,
    /// Smallest change of a rate, at least 0. Default 1e-8.
    pub eps: f64,
    /// State from past metrics. Not part of the JSON form.
    #[serde(skip)]
    pub state: PlateauState,
}

/// Whether a lower or a higher metric is better.
///
/// ```
/// use gradus::schedule::{MetricMode, ReduceLROnPlateau};
///
/// let schedule = ReduceLROnPlateau { mode: MetricMode::Max, ..ReduceLROnPlateau::default() }; // of an accuracy
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetricMode {
    /// Lower is better, as for a loss.
    #[default]
    Min,
    /// Higher is better, as for an accuracy.
    Max,
}

impl MetricMode {
    /// A value that every metric improves on.
    pub(crate) fn worst(self) -> f64 {
        match self {
            Self::Min => f64::INFINITY,
            Self::Max => f64::NEG_INFINITY,
        }
    }
}

/// Whether a threshold is relative or absolute.
///
/// ```
/// use gradus::schedule::{ReduceLROnPlateau, ThresholdMode};
///
/// let by_a_hundredth =
///     ReduceLROnPlateau { threshold: 0.01, threshold_mode: ThresholdMode::Abs, ..ReduceLROnPlateau::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ThresholdMode {
    /// Relative to the best metric: better means below `best * (1 - threshold)`, or above `best * (1 + threshold)`.
    #[default]
    Rel,
    /// Absolute: better means below `best - threshold`, or above `best + threshold`.
    Abs,
}

/// State of a [`ReduceLROnPlateau`]: the changing keys of PyTorch's `state_dict`, with the number of reductions
/// instead of the rates, which the optimizer holds.
///
/// ```
/// use gradus::schedule::{ReduceLROnPlateau, Schedule};
///
/// let mut schedule = ReduceLROnPlateau { patience: 0, ..ReduceLROnPlateau::default() };
/// schedule.observe(1.0)?;
/// schedule.observe(2.0)?;
/// assert_eq!(schedule.state.num_reductions, 1);
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlateauState {
    /// The best metric so far.
    pub best: Best,
    /// Remaining metrics of the cooldown.
    pub cooldown_counter: u64,
    /// Number of metrics so far.
    pub last_epoch: u64,
    /// Number of metrics in a row without improvement.
    pub num_bad_epochs: u64,
    /// Number of reductions.
    pub num_reductions: u64,
}

/// The best metric so far, or `None` before the first. In JSON: `null`, a number, `"inf"` or `"-inf"`.
///
/// ```
/// use gradus::schedule::{Best, ReduceLROnPlateau};
///
/// assert_eq!(ReduceLROnPlateau::default().state.best, Best(None)); // nothing was observed
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Best(pub Option<f64>);

impl Serialize for Best {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            // JSON cannot represent infinities.
            Some(best) if best.is_infinite() => best.to_string().serialize(serializer),
            best => best.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Best {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Form {
            Number(f64),
            Text(String),
        }
        Ok(Self(match Option::<Form>::deserialize(deserializer)? {
            None => None,
            Some(Form::Number(best)) => Some(best),
            Some(Form::Text(text)) => match &text[..] {
                "inf" => Some(f64::INFINITY),
                "-inf" => Some(f64::NEG_INFINITY),
                _ => return Err(de::Error::custom(format!("best: expected a number, got {text:?}"))),
            },
        }))
    }
}

impl Default for ReduceLROnPlateau {
    fn default() -> Self {
        Self {
            mode: MetricMode::Min,
            factor: 0.1,
            patience: 10,
            threshold: 1e-4,
            threshold_mode: ThresholdMode::Rel,
            cooldown: 0,
            min_lr: 0.0,
            eps: 1e-8,
            state: PlateauState::default(),
        }
    }
}

/// Up to this number, reductions are applied one by one, as in PyTorch. Beyond it, which takes a factor close to 1,
/// most are applied as one power.
const ONE_BY_ONE: u64 = 4096;

impl ReduceLROnPlateau {
    /// The rate after one more reduction.
    pub(crate) fn reduced(&self, lr: f64) -> f64 {
        let next = (lr * self.factor).max(self.min_lr);
        if lr - next > self.eps { next } else { lr }
    }

    fn is_better(&self, metric: f64) -> bool {
        let (best, threshold) = (self.state.best.0.unwrap_or(self.mode.worst()), self.threshold);
        match (self.mode, self.threshold_mode) {
            (MetricMode::Min, ThresholdMode::Rel) => metric < best * (1.0 - threshold),
            (MetricMode::Min, ThresholdMode::Abs) => metric < best - threshold,
            (MetricMode::Max, ThresholdMode::Rel) => metric > best * (1.0 + threshold),
            (MetricMode::Max, ThresholdMode::Abs) => metric > best + threshold,
        }
    }
}

impl Schedule for ReduceLROnPlateau {
    /// The rate after the metrics so far; the same at any step.
    fn at(&self, step: u64, base: f64) -> Result<Point, Error> {
        let mut lr = base;
        let mut left = self.state.num_reductions;
        for _ in 0..left.min(ONE_BY_ONE) {
            lr = self.reduced(lr);
        }
        left = left.saturating_sub(ONE_BY_ONE);
        if left > ONE_BY_ONE && self.reduced(lr) != lr {
            // Most of the effective reductions at once.
            let times = |ratio: f64| ratio.ln() / self.factor.ln();
            let floor = times(self.min_lr / lr).min(times(self.eps / (lr * (1.0 - self.factor))));
            let jump = ((left as f64).min(floor) - 2.0).max(0.0).floor();
            lr *= self.factor.powf(jump);
            let rest = left as f64 - jump;
            left = (0..=ONE_BY_ONE).find(|rounds| *rounds as f64 >= rest).unwrap_or(ONE_BY_ONE);
        }
        for _ in 0..left.min(ONE_BY_ONE) {
            lr = self.reduced(lr);
        }
        rate_at(step, lr)
    }

    fn check(&self) -> Result<(), Error> {
        half_open("factor", self.factor, 0.0, 1.0)?;
        match (self.mode, self.threshold_mode) {
            (MetricMode::Min, ThresholdMode::Rel) => half_open("threshold", self.threshold, 0.0, 1.0)?,
            _ => at_least("threshold", self.threshold, 0.0)?,
        }
        at_least("min_lr", self.min_lr, 0.0)?;
        at_least("eps", self.eps, 0.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("ReduceLROnPlateau", self))
    }

    fn takes_metric(&self) -> bool {
        true
    }

    fn observe(&mut self, metric: f64) -> Result<(), Error> {
        if metric.is_nan() {
            return Err(Error::constant("metric", "a number", metric));
        }
        let better = self.is_better(metric);
        let state = &mut self.state;
        state.last_epoch = state.last_epoch.saturating_add(1);
        if better {
            state.best = Best(Some(metric));
            state.num_bad_epochs = 0;
        } else {
            state.num_bad_epochs = state.num_bad_epochs.saturating_add(1);
        }
        if state.cooldown_counter > 0 {
            state.cooldown_counter -= 1;
            state.num_bad_epochs = 0;
        }
        if state.num_bad_epochs > self.patience {
            state.num_reductions = state.num_reductions.saturating_add(1);
            state.cooldown_counter = self.cooldown;
            state.num_bad_epochs = 0;
        }
        Ok(())
    }

    fn state(&self) -> Option<Value> {
        Some(serde_json::to_value(self.state).expect("counts and a number"))
    }

    fn load_state(&mut self, state: &Value) -> Result<(), Error> {
        let refuse = |e: serde_json::Error| Error::StateDict(format!("ReduceLROnPlateau: {e}"));
        let state = PlateauState::deserialize(state).map_err(refuse)?;
        for (name, count) in [
            ("cooldown_counter", state.cooldown_counter),
            ("last_epoch", state.last_epoch),
            ("num_bad_epochs", state.num_bad_epochs),
            ("num_reductions", state.num_reductions),
        ] {
            countable(name, count)
                .map_err(|error| Error::StateDict(format!("ReduceLROnPlateau: {error}")))?;
        }
        self.state = state;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
