use std::collections::BTreeMap;

use super::Stopped;
use crate::optim::NormReport;
use crate::train::StepReport;

/// What a run is, as its callbacks are told before it begins. See
/// [`Trainer::run_info`](crate::train::Trainer::run_info).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunInfo {
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Steps of an epoch.
    pub steps_per_epoch: u64,
    /// Steps that the trainer had taken before the run.
    pub first_step: u64,
    /// Steps that it has taken now: more if the run is resumed.
    pub step: u64,
    /// Whether it goes on from a checkpoint, whose states callbacks have loaded. Callbacks of a new run begin anew.
    pub resumed: bool,
    /// Names of the values of a report: `loss`, and the metrics.
    pub metrics: Vec<String>,
    /// Names of the parameter groups.
    pub groups: Vec<String>,
    /// Names and shapes of the parameters, in the order of the layout: that in which layers were built.
    pub tensors: Vec<(String, Vec<usize>)>,
    /// Whether a schedule sets the rates, so that no callback may.
    pub scheduled: bool,
    /// Most steps whose reports can be on their way.
    pub in_flight: u64,
}

/// A batch whose report has arrived.
#[derive(Clone, Debug, PartialEq)]
pub struct BatchEnd<'a> {
    /// Its epoch, from 1.
    pub epoch: u64,
    /// The step, from 0, its loss and its metrics.
    pub report: &'a StepReport,
    /// Its number of samples.
    pub samples: usize,
    /// The rate of each parameter group in this step.
    pub lrs: &'a [f64],
    /// Means of loss and metrics over the samples of the epoch so far.
    pub means: &'a [f64],
    /// Norms of the step, if they were reported.
    pub norms: Option<&'a NormReport>,
}

impl<'a> BatchEnd<'a> {
    /// A batch of one sample in epoch 1, of which nothing but the report is known.
    #[must_use]
    pub fn of(report: &'a StepReport) -> Self {
        Self { epoch: 1, report, samples: 1, lrs: &[], means: &[], norms: None }
    }
}

/// The end of an epoch.
#[derive(Clone, Debug, PartialEq)]
pub struct EpochEnd<'a> {
    /// The epoch, from 1.
    pub epoch: u64,
    /// Steps taken.
    pub step: u64,
    /// The rate of each parameter group in the last step.
    pub lrs: &'a [f64],
    /// Parameters and buffers by name, if a callback [needs](Reads) them.
    pub weights: Option<&'a BTreeMap<String, Vec<f32>>>,
    /// Gradients of the last step by name, before transforms other than accumulation and unscaling, if a callback
    /// [needs](Reads) them; of parameters that are not frozen.
    pub gradients: Option<&'a BTreeMap<String, Vec<f32>>>,
}

/// The end of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrainEnd<'a> {
    /// Steps taken.
    pub step: u64,
    /// Who has stopped it, unless it reached its last epoch.
    pub stopped: Option<&'a Stopped>,
}

impl TrainEnd<'_> {
    /// The end of a run that nobody has stopped.
    #[must_use]
    pub fn of(step: u64) -> Self {
        Self { step, stopped: None }
    }
}

/// What is read from the device at the end of an epoch, after its evaluation and before its callbacks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Parameters and buffers.
    pub weights: bool,
    /// Gradients of the last step.
    pub gradients: bool,
}

impl Reads {
    /// What either needs.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self { weights: self.weights || other.weights, gradients: self.gradients || other.gradients }
    }
}
