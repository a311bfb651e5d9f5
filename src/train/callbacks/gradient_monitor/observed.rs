//! What the monitor has seen of a run: all its numbers are finite, so that a checkpoint can keep them.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use super::diagnosis::Diagnosis;
use crate::optim::{NormReport, Norms};
use crate::train::callbacks::RunInfo;

/// Samples whose mean loss is the first one: that of the first batch unless batches are small.
const FIRST_SAMPLES: usize = 8;

/// Losses whose mean is the early one.
pub(super) const EARLY: u64 = 16;

/// Latest losses that are kept.
pub(super) const WINDOW: usize = 128;

/// Losses over which a rise must last.
const RISEN: usize = 4;

/// Losses whose mean is the level of the loss.
pub(super) const LEVEL: usize = 32;

/// Latest reports whose update ratios are kept.
const RATIOS: usize = 9;

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Observed {
    /// Sum and number of samples of the first loss.
    first: (f64, usize),
    /// Sum of the first losses.
    early: f64,
    /// Batches seen.
    pub(super) batches: u64,
    pub(super) losses: VecDeque<f64>,
    /// The step, from 1, after which the mean of some losses was highest, and that mean.
    pub(super) highest: Option<(u64, f64)>,
    /// The lowest mean of [`LEVEL`] losses in a row.
    pub(super) lowest: Option<f64>,
    /// What was first not finite, in words.
    pub(super) not_finite: Option<String>,
    /// The gradient's norm in the first report.
    pub(super) first_gradient: Option<f64>,
    /// The step, from 1, whose gradient was longest, and its norm.
    pub(super) longest: Option<(u64, f64)>,
    pub(super) ratios: VecDeque<f64>,
    pub(super) latest: Option<Latest>,
    /// Reports in a row in which gradients vanished, or grew, from the last weights to the first.
    pub(super) vanishing: u64,
    pub(super) growing: u64,
    pub(super) dead_units: Option<f64>,
    pub(super) diagnoses: Vec<Diagnosis>,
}

/// The norms of the latest report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Latest {
    /// From 1.
    pub(super) step: u64,
    pub(super) total: Numbers,
    pub(super) tensors: BTreeMap<String, Numbers>,
    /// Median gradient an element of the first and of the last third of the weights, and how many these are.
    pub(super) ends: Option<(f64, f64, usize)>,
}

/// Norms of gradient, parameter and update.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Numbers(f64, f64, f64);

impl From<Norms> for Numbers {
    fn from(norms: Norms) -> Self {
        Self(norms.gradient, norms.parameter, norms.update)
    }
}

impl From<Numbers> for Norms {
    fn from(Numbers(gradient, parameter, update): Numbers) -> Self {
        Self { gradient, parameter, update }
    }
}

/// Ratio between the ends of a network at which gradients vanish or grow.
const FAR: f64 = 1e-4;

impl Observed {
    /// The mean loss of the first samples.
    pub(super) fn first(&self) -> Option<f64> {
        (self.first.1 > 0).then(|| self.first.0 / self.first.1 as f64)
    }

    /// The mean of the first losses.
    pub(super) fn early(&self) -> f64 {
        self.early / self.batches.clamp(1, EARLY) as f64
    }

    pub(super) fn loss(&mut self, step: u64, loss: f32, samples: usize) {
        if !loss.is_finite() {
            self.not_finite.get_or_insert_with(|| format!("the loss of step {} is {loss}", step + 1));
            return;
        }
        let loss = f64::from(loss);
        if self.first.1 < FIRST_SAMPLES {
            self.first = (self.first.0 + loss * samples as f64, self.first.1 + samples);
        }
        if self.batches < EARLY {
            self.early += loss;
        }
        self.batches += 1;
        self.losses.push_back(loss);
        if self.losses.len() > WINDOW {
            self.losses.pop_front();
        }
        if self.losses.len() >= LEVEL {
            let level = self.last(LEVEL);
            self.lowest = Some(self.lowest.map_or(level, |lowest| lowest.min(level)));
        }
        if self.losses.len() >= RISEN {
            let mean = self.last(RISEN);
            if self.highest.is_none_or(|(_, highest)| mean > highest) {
                self.highest = Some((step + 1, mean));
            }
        }
    }

    /// The mean of the last `count` losses, which must be as many.
    pub(super) fn last(&self, count: usize) -> f64 {
        self.losses.iter().rev().take(count).sum::<f64>() / count as f64
    }

    pub(super) fn norms(&mut self, report: &NormReport, run: &RunInfo) {
        // A scaler skips such steps on purpose, to find its factor.
        if report.skipped {
            return;
        }
        let step = report.step + 1;
        let is_finite =
            |norms: &Norms| [norms.gradient, norms.parameter, norms.update].iter().all(|x| x.is_finite());
        if let Some(tensor) = report.tensors.iter().find(|tensor| !is_finite(&tensor.norms)) {
            let what = if tensor.norms.gradient.is_finite() { "parameter" } else { "gradient" };
            let words = || format!("the {what} {} of step {step} is not finite", tensor.name);
            self.not_finite.get_or_insert_with(words);
            return;
        }
        let gradient = report.total.gradient;
        self.first_gradient.get_or_insert(gradient);
        if self.longest.is_none_or(|(_, longest)| gradient > longest) {
            self.longest = Some((step, gradient));
        }
        let ratio = report.total.update_ratio();
        if ratio.is_finite() {
            self.ratios.push_back(ratio);
        }
        if self.ratios.len() > RATIOS {
            self.ratios.pop_front();
        }
        let ends = ends(report, run);
        let reach = ends.map(|(first, last, _)| (first < FAR * last, last < FAR * first));
        let (vanishes, grows) = reach.unwrap_or((false, false));
        self.vanishing = if vanishes { self.vanishing + 1 } else { 0 };
        self.growing = if grows { self.growing + 1 } else { 0 };
        let tensors =
            report.tensors.iter().map(|tensor| (tensor.name.clone(), tensor.norms.into())).collect();
        self.latest = Some(Latest { step, total: report.total.into(), tensors, ends });
    }

    /// The median of the latest ratios of updates to parameters.
    pub(super) fn ratio(&self) -> Option<f64> {
        median(self.ratios.iter().copied().collect())
    }
}

/// The median gradient an element of the first and of the last third of the weights: of parameters with two dimensions or
/// more, in the order of the layout. `None` for fewer than three.
fn ends(report: &NormReport, run: &RunInfo) -> Option<(f64, f64, usize)> {
    let weights: Vec<f64> = run
        .tensors
        .iter()
        .filter(|(_, shape)| shape.len() > 1)
        .filter_map(|(name, shape)| {
            let norms = report.tensors.iter().find(|tensor| tensor.name == *name)?.norms;
            Some(norms.gradient / (shape.iter().product::<usize>() as f64).sqrt())
        })
        .collect();
    let third = weights.len() / 3;
    let first = median(weights[..third].to_vec())?;
    let last = median(weights[weights.len() - third..].to_vec())?;
    Some((first, last, third))
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_unstable_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
