use std::collections::BTreeMap;

use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::Trainer;
use crate::config;
use crate::error::{Error, at_least, finite};
use crate::optim::AnyRule;
use crate::schedule::{Best, MetricMode};

/// Tells when a metric has stopped improving; can keep the best parameters.
///
/// A metric improves if it beats the best one so far by more than `min_delta`. After `patience` metrics in a row
/// without improvement, it is time to stop.
///
/// Source: Keras 3.15, `keras.callbacks.EarlyStopping`. Differs: NaN is refused, where Keras counts it as no
/// improvement; there is no mode `auto` and no `start_from_epoch`.
///
/// ```
/// use gradus::train::EarlyStopping;
///
/// let mut stopping = EarlyStopping { patience: 2, ..Default::default() };
/// let said: Vec<bool> = [0.9, 0.5, 0.6, 0.7].iter().map(|loss| stopping.observe(*loss).unwrap()).collect();
/// assert_eq!(said, [false, false, false, true]);
/// assert_eq!(stopping.state.best_epoch, Some(1));
/// ```
///
/// It is also a [callback](super::callbacks::Callback), which observes the value that is logged as
/// [`monitor`](Self::monitor) after each epoch, and at the end of a run writes the best parameters back if it keeps them.
///
/// A loop of one's own that may be interrupted and resumed keeps the state in its checkpoint:
///
/// ```no_run
/// // Needs a trainer.
/// use gradus::optim::SGD;
/// use gradus::train::{Checkpoint, EarlyStopping, Trainer};
///
/// fn save(trainer: &mut Trainer<SGD>, stopping: &EarlyStopping) -> Result<(), gradus::Error> {
///     let mut checkpoint = trainer.read_checkpoint()?;
///     checkpoint.early_stopping = Some(stopping.state.clone());
///     checkpoint.write("model.safetensors")
/// }
///
/// fn resume(trainer: &mut Trainer<SGD>, stopping: &mut EarlyStopping) -> Result<(), gradus::Error> {
///     let checkpoint = Checkpoint::read("model.safetensors")?;
///     trainer.load_checkpoint(&checkpoint)?;
///     stopping.state = checkpoint.early_stopping.unwrap_or_default();
///     Ok(())
/// }
/// ```
///
/// Its `Serialize` accepts only finite numbers, because JSON has no others; the error names the number that is not
/// finite.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EarlyStopping {
    /// Name of the logged value that it observes as a [callback](super::callbacks). Default `val_loss`.
    pub monitor: String,
    /// Smallest improvement that counts, at least 0. Default 0.
    pub min_delta: f64,
    /// Number of metrics in a row that may fail to improve. Default 0.
    pub patience: u64,
    /// Whether smaller or larger metrics are better. Default [`MetricMode::Min`].
    pub mode: MetricMode,
    /// Patience starts again only after an improvement that also beats this metric. Default none.
    pub baseline: Option<f64>,
    /// Whether [`EarlyStopping::watch`] keeps the best parameters for [`EarlyStopping::restore`]. Default false.
    pub restore_best_weights: bool,
    /// When patience is checked. Default [`StopRule::Keras`].
    pub variant: StopRule,
    /// State after the metrics so far, for a checkpoint. Not part of the JSON form.
    #[serde(skip)]
    pub state: EarlyStoppingState,
}

/// When [`EarlyStopping`] checks whether patience has run out. It matters only for a `patience` of 0.
///
/// ```
/// use gradus::train::{EarlyStopping, StopRule};
///
/// let stopping = EarlyStopping { patience: 3, variant: StopRule::Eager, ..Default::default() };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopRule {
    /// After a metric without improvement, but never after the first metric.
    #[default]
    Keras,
    /// After every metric: with a patience of 0, training stops after the first.
    Eager,
}

/// State of an [`EarlyStopping`] after the metrics so far.
///
/// Store it in [`Checkpoint::early_stopping`](super::Checkpoint::early_stopping), which writes the parameters as
/// tensors. Serde keeps all bits as well, but a parameter takes about 20 bytes as JSON, and numbers that are not finite
/// are refused, except for the best metric.
///
/// ```
/// use gradus::train::EarlyStopping;
///
/// let mut stopping = EarlyStopping { patience: 1, ..Default::default() };
/// stopping.observe(0.5)?;
/// stopping.observe(0.7)?;
/// assert_eq!(stopping.state.best.0, Some(0.5));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EarlyStoppingState {
    /// Metrics so far.
    pub epochs: u64,
    /// Metrics in a row without improvement.
    pub wait: u64,
    /// The best metric.
    pub best: Best,
    /// Index of the best metric, from 0.
    pub best_epoch: Option<u64>,
    /// Index of the first metric, from 0, after which it was time to stop.
    pub stopped_epoch: Option<u64>,
    /// The parameters at the best metric by name, if they are kept.
    pub best_weights: Option<BTreeMap<String, Vec<f32>>>,
}

impl Serialize for EarlyStopping {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "EarlyStopping")]
        struct Form<'a> {
            monitor: &'a str,
            min_delta: f64,
            patience: u64,
            mode: MetricMode,
            baseline: Option<f64>,
            restore_best_weights: bool,
            variant: StopRule,
        }
        let Self {
            ref monitor,
            min_delta,
            patience,
            mode,
            baseline,
            restore_best_weights,
            variant,
            state: _,
        } = *self;
        let form = Form { monitor, min_delta, patience, mode, baseline, restore_best_weights, variant };
        config::serialize_finite(&form, serializer)
    }
}

impl Serialize for EarlyStoppingState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(rename = "EarlyStoppingState")]
        struct Form<'a> {
            epochs: u64,
            wait: u64,
            best: Best,
            best_epoch: Option<u64>,
            stopped_epoch: Option<u64>,
            best_weights: Option<&'a BTreeMap<String, Vec<f32>>>,
        }
        let Self { epochs, wait, best, best_epoch, stopped_epoch, ref best_weights } = *self;
        let best_weights = best_weights.as_ref();
        let form = Form { epochs, wait, best, best_epoch, stopped_epoch, best_weights };
        config::serialize_finite(&form, serializer)
    }
}

impl Default for EarlyStopping {
    fn default() -> Self {
        Self {
            monitor: "val_loss".into(),
            min_delta: 0.0,
            patience: 0,
            mode: MetricMode::Min,
            baseline: None,
            restore_best_weights: false,
            variant: StopRule::Keras,
            state: EarlyStoppingState::default(),
        }
    }
}

impl EarlyStopping {
    /// From a JSON object such as `{"patience": 5, "min_delta": 0.01, "mode": "max"}`.
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

    /// Takes the metric of an epoch; returns whether it is time to stop.
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

    /// As [`EarlyStopping::observe`]. If the metric is the best so far and parameters are to be kept, waits for the
    /// device and reads the parameters of `trainer`.
    ///
    /// # Errors
    /// As [`EarlyStopping::observe`]; [`Error::DeviceLost`]. Then nothing was changed.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn watch<R: AnyRule + Clone>(&mut self, metric: f64, trainer: &Trainer<R>) -> Result<bool, Error> {
        trainer.gpu.block_on(self.watch_async(metric, trainer))
    }

    /// As [`EarlyStopping::watch`], without blocking. If the future is dropped before it is ready, the metric is not
    /// counted.
    ///
    /// # Errors
    /// As [`EarlyStopping::watch`].
    pub async fn watch_async<R: AnyRule + Clone>(
        &mut self,
        metric: f64,
        trainer: &Trainer<R>,
    ) -> Result<bool, Error> {
        let mut next = self.without_weights();
        let stop = next.observe(metric)?;
        let read = if self.keeps(&next) { Some(trainer.read_params().await?) } else { None };
        next.state.best_weights = read.or(self.state.best_weights.take());
        self.state = next.state;
        Ok(stop)
    }

    /// Writes the best parameters to `trainer`, if they were kept; returns whether they were.
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

    /// The same, without the best parameters, which can be large.
    pub(super) fn without_weights(&self) -> Self {
        let EarlyStoppingState { epochs, wait, best, best_epoch, stopped_epoch, best_weights: _ } =
            self.state;
        let state = EarlyStoppingState { epochs, wait, best, best_epoch, stopped_epoch, best_weights: None };
        Self { state, monitor: self.monitor.clone(), ..*self }
    }

    /// Whether the parameters are to be kept after a metric, with which it has become `next`.
    pub(super) fn keeps(&self, next: &Self) -> bool {
        let latest_is_best = next.state.best_epoch == Some(self.state.epochs);
        self.restore_best_weights && (latest_is_best || self.state.best_weights.is_none())
    }

    fn beats(&self, metric: f64, other: f64) -> bool {
        match self.mode {
            MetricMode::Min => metric + self.min_delta < other,
            MetricMode::Max => metric - self.min_delta > other,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The first metric after which it stops, and the best one up to then.
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
            // Only a metric that beats the best by more than min_delta improves.
            (EarlyStopping { min_delta: 0.5, ..one.clone() }, &[3.0, 2.0, 1.5], (Some(2), Some(1))),
            (EarlyStopping { mode: MetricMode::Max, ..one.clone() }, &[1.0, 2.0, 2.5], (None, Some(2))),
            // Improvements that do not beat the baseline do not stop training, but use up patience.
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
                "unknown field of EarlyStopping \"patients\", did you mean \"patience\"?; known: monitor, \
                 min_delta, patience, mode, baseline, restore_best_weights, variant",
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

    #[test]
    fn what_json_cannot_hold_is_refused_with_its_place() {
        let refused = |value: &dyn Fn() -> serde_json::Result<String>, place: &str| {
            let message = format!("{place}: JSON holds finite numbers alone");
            assert_eq!(value().unwrap_err().to_string(), message);
        };
        let stopping = EarlyStopping { baseline: Some(f64::INFINITY), ..Default::default() };
        refused(&|| serde_json::to_string(&stopping), "baseline is inf");
        let stopping = EarlyStopping { min_delta: f64::NAN, ..Default::default() };
        refused(&|| serde_json::to_string(&stopping), "min_delta is NaN");
        let weights = [("a".to_owned(), vec![1.0]), ("b.weight".to_owned(), vec![0.0, f32::NEG_INFINITY])];
        let state = EarlyStoppingState { best_weights: Some(weights.into()), ..Default::default() };
        refused(&|| serde_json::to_string(&state), "best_weights.b.weight[1] is -inf");
        let state = EarlyStoppingState { best: Best(Some(f64::NAN)), ..Default::default() };
        refused(&|| serde_json::to_string(&state), "best is NaN");
        let whole = EarlyStopping { baseline: Some(0.1), patience: 3, ..Default::default() };
        let json = serde_json::to_value(&whole).unwrap();
        assert_eq!(EarlyStopping::from_json(&json).unwrap(), whole);
    }
}
