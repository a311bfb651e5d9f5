use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Trainer;
use crate::config;
use crate::error::{Error, at_least, finite};
use crate::optim::AnyRule;
use crate::schedule::{Best, Mode};

/// Says when a metric has stopped getting better, and keeps the best parameters if it shall.
///
/// A metric is better if it beats the best one so far by more than `min_delta`. After `patience` others in a
/// row it is time to stop.
///
/// Source: Keras 3.15, `keras.callbacks.EarlyStopping`. Differs: NaN is refused, where Keras counts it as no
/// better; there is no mode `auto` and no `start_from_epoch`.
///
/// ```
/// use gradus::train::EarlyStopping;
///
/// let mut stopping = EarlyStopping { patience: 2, ..Default::default() };
/// let said: Vec<bool> = [0.9, 0.5, 0.6, 0.7].iter().map(|loss| stopping.observe(*loss).unwrap()).collect();
/// assert_eq!(said, [false, false, false, true]);
/// assert_eq!(stopping.state.best_epoch, Some(1));
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStopping {
    /// By how much a metric must beat the best one, at least 0. Default 0.
    pub min_delta: f64,
    /// Metrics in a row that may be no better. Default 0.
    pub patience: u64,
    /// Whether less or more is better. Default [`Mode::Min`].
    pub mode: Mode,
    /// A metric that a better one must also beat for patience to begin anew. Default none.
    pub baseline: Option<f64>,
    /// Whether [`EarlyStopping::watch`] keeps the best parameters for [`EarlyStopping::restore`]. Default
    /// false.
    pub restore_best_weights: bool,
    /// Whether a metric that is better can also stop. Default [`StopRule::Keras`].
    pub variant: StopRule,
    /// What the metrics so far have left, for a checkpoint. No part of the JSON form.
    #[serde(skip)]
    pub state: EarlyStoppingState,
}

/// When [`EarlyStopping`] asks whether patience has run out. It matters only for a `patience` of 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopRule {
    /// After a metric that is no better, and never after the first one.
    #[default]
    Keras,
    /// After each metric: a patience of 0 ends with the first.
    Eager,
}

/// What metrics have left in an [`EarlyStopping`]. Through serde it loses no bit of finite parameters.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStoppingState {
    /// Metrics so far.
    pub epochs: u64,
    /// Metrics in a row that were no better.
    pub wait: u64,
    /// The best metric.
    pub best: Best,
    /// Which one it was, from 0.
    pub best_epoch: Option<u64>,
    /// The metric, from 0, after which it was first time to stop.
    pub stopped_epoch: Option<u64>,
    /// The parameters of the best metric by name, if they are kept.
    pub best_weights: Option<BTreeMap<String, Vec<f32>>>,
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self {
            min_delta: 0.0,
            patience: 0,
            mode: Mode::Min,
            baseline: None,
            restore_best_weights: false,
            variant: StopRule::Keras,
            state: EarlyStoppingState::default(),
        }
    }
}

impl EarlyStopping {
    /// The one of a JSON object, as in `{"patience": 5, "min_delta": 0.01, "mode": "max"}`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] for a field that does not exist, with the nearest one that does;
    /// [`Error::Config`] for one of another type; [`Error::Constant`] for one out of range.
    pub fn from_json(json: &Value) -> Result<Self, Error> {
        let refuse = || Error::Config {
            what: "callback EarlyStopping".into(),
            reason: format!("expected an object, got {json}"),
        };
        let fields = json.as_object().ok_or_else(refuse)?;
        let stopping: Self = config::read("callback", "EarlyStopping", fields)?;
        stopping.check()?;
        Ok(stopping)
    }

    /// Refuses fields that are out of range.
    ///
    /// # Errors
    /// [`Error::Constant`].
    pub fn check(&self) -> Result<(), Error> {
        at_least("min_delta", self.min_delta, 0.0)?;
        self.baseline.map_or(Ok(()), |baseline| finite("baseline", baseline))
    }

    /// Takes the metric of an epoch; whether it is time to stop.
    ///
    /// # Errors
    /// [`Error::Constant`] for NaN, and those of [`EarlyStopping::check`]; then nothing was changed.
    pub fn observe(&mut self, metric: f64) -> Result<bool, Error> {
        self.check()?;
        if metric.is_nan() {
            return Err(Error::constant("metric", "a number", metric));
        }
        let best = self.state.best.0.unwrap_or(self.mode.worst());
        let better = self.beats(metric, best);
        let anew = better && self.baseline.is_none_or(|baseline| self.beats(metric, baseline));
        let state = &mut self.state;
        let epoch = state.epochs;
        state.epochs = state.epochs.saturating_add(1);
        state.wait = if anew { 0 } else { state.wait.saturating_add(1) };
        if better {
            state.best = Best(Some(metric));
            state.best_epoch = Some(epoch);
        }
        let asked = match self.variant {
            StopRule::Keras => !better && epoch > 0,
            StopRule::Eager => true,
        };
        let stop = asked && state.wait >= self.patience;
        if stop {
            state.stopped_epoch = state.stopped_epoch.or(Some(epoch));
        }
        Ok(stop)
    }

    /// As [`EarlyStopping::observe`]; reads the parameters of `trainer` if they are the best so far and shall
    /// be kept. Waits for the device then.
    ///
    /// # Errors
    /// As [`EarlyStopping::observe`]; [`Error::DeviceLost`].
    pub fn watch<R: AnyRule + Clone>(&mut self, metric: f64, trainer: &Trainer<R>) -> Result<bool, Error> {
        let stop = self.observe(metric)?;
        let latest_is_best = self.state.best_epoch == Some(self.state.epochs - 1);
        if self.restore_best_weights && (latest_is_best || self.state.best_weights.is_none()) {
            self.state.best_weights = Some(trainer.read_params()?);
        }
        Ok(stop)
    }

    /// Gives `trainer` the best parameters, if they were kept; whether they were.
    ///
    /// The optimizer's state stays that of the last step, as in Keras.
    ///
    /// # Errors
    /// [`Error::StateDict`] for parameters of another model; then nothing was changed. [`Error::DeviceLost`].
    pub fn restore<R: AnyRule + Clone>(&self, trainer: &mut Trainer<R>) -> Result<bool, Error> {
        match &self.state.best_weights {
            None => Ok(false),
            Some(weights) => trainer.write_params(weights).map(|()| true),
        }
    }

    fn beats(&self, metric: f64, other: f64) -> bool {
        match self.mode {
            Mode::Min => metric + self.min_delta < other,
            Mode::Max => metric - self.min_delta > other,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The first metric after which it stops, and the best until then.
    fn run(mut stopping: EarlyStopping, metrics: &[f64]) -> (Option<usize>, Option<u64>) {
        let stop = metrics.iter().position(|metric| stopping.observe(*metric).unwrap());
        assert_eq!(stopping.state.stopped_epoch, stop.map(|epoch| epoch as u64));
        (stop, stopping.state.best_epoch)
    }

    #[test]
    fn each_rule_stops_in_its_epoch() {
        let eager = EarlyStopping { variant: StopRule::Eager, ..Default::default() };
        let one = EarlyStopping { patience: 1, ..Default::default() };
        let rows = [
            (EarlyStopping::default(), &[3.0, 2.0, 2.0][..], (Some(2), Some(1))),
            (eager.clone(), &[3.0, 2.0], (Some(0), Some(0))),
            (EarlyStopping { patience: 1, ..eager }, &[3.0, 2.0, 2.0], (Some(2), Some(1))),
            // Only what beats the best by more than min_delta is better.
            (EarlyStopping { min_delta: 0.5, ..one.clone() }, &[3.0, 2.0, 1.5], (Some(2), Some(1))),
            (EarlyStopping { mode: Mode::Max, ..one.clone() }, &[1.0, 2.0, 2.5], (None, Some(2))),
            // Better ones that do not beat the baseline do not stop, but use patience up.
            (EarlyStopping { baseline: Some(1.0), ..one.clone() }, &[3.0, 2.0, 1.5, 1.6], (Some(3), Some(2))),
            (EarlyStopping { baseline: Some(1.0), ..one }, &[0.9, 0.8, 0.9], (Some(2), Some(1))),
            // Keras never stops after the first epoch.
            (EarlyStopping::default(), &[f64::INFINITY, 1.0], (None, Some(1))),
        ];
        for (stopping, metrics, expected) in rows {
            assert_eq!(run(stopping.clone(), metrics), expected, "{stopping:?}");
        }
    }

    #[test]
    fn refusals_say_what_to_write_and_change_nothing() {
        let mut stopping = EarlyStopping { patience: 1, ..Default::default() };
        stopping.observe(1.0).unwrap();
        let before = stopping.clone();
        assert_eq!(stopping.observe(f64::NAN).unwrap_err().to_string(), "metric must be a number, got NaN");
        assert_eq!(stopping, before);
        let rows = [
            (json!(3), "callback EarlyStopping: expected an object, got 3"),
            (
                json!({"patience": -1}),
                "callback EarlyStopping: patience: invalid value: integer `-1`, expected u64",
            ),
            (json!({"min_delta": -0.1}), "min_delta must be finite and at least 0, got -0.1"),
            (
                json!({"mode": "auto"}),
                "callback EarlyStopping: mode: unknown variant `auto`, expected `min` or `max`",
            ),
            (
                json!({"patients": 3}),
                "unknown field of EarlyStopping \"patients\", did you mean \"patience\"?; known: min_delta, \
                 patience, mode, baseline, restore_best_weights, variant",
            ),
        ];
        for (json, message) in rows {
            assert_eq!(EarlyStopping::from_json(&json).unwrap_err().to_string(), message, "{json}");
        }
    }

    #[test]
    fn the_state_goes_through_json() {
        let mut first = EarlyStopping { patience: 2, ..Default::default() };
        for metric in [0.1 + 0.2, 0.4, 1e300, f64::NEG_INFINITY, 0.0, 0.0] {
            let text = serde_json::to_string(&first.state).unwrap();
            assert_eq!(serde_json::from_str::<EarlyStoppingState>(&text).unwrap(), first.state);
            first.observe(metric).unwrap();
            let weights = vec![0.1_f32, f32::MIN_POSITIVE / 3.0, -f32::MAX, 16_777_217.0 / 3.0];
            first.state.best_weights = Some([("w".to_owned(), weights)].into());
        }
    }
}
