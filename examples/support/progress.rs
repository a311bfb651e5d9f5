//! Progress output: a bar on a terminal, otherwise one line per epoch.

use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

use anyhow::Result;
use gradus::train::StepReport;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::{Deserialize, Serialize};

use crate::terminal::say;

/// Sums over the samples of an epoch: of the loss, and of each metric by name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Means {
    samples: u64,
    #[serde(flatten)]
    sums: BTreeMap<String, f64>,
}

/// The names of the values that a step reports, in order.
pub(crate) fn reported(metrics: &[&'static str]) -> Vec<&'static str> {
    [&["loss"], metrics].concat()
}

impl Means {
    pub(crate) fn new(metrics: &[&'static str]) -> Self {
        let sums = reported(metrics).into_iter().map(|name| (name.into(), 0.0)).collect();
        Self { samples: 0, sums }
    }

    pub(crate) fn add(&mut self, metrics: &[&'static str], report: &StepReport, samples: usize) {
        self.samples += samples as u64;
        let values = [&[report.loss], &report.metrics[..]].concat();
        for (name, value) in reported(metrics).into_iter().zip(values) {
            *self.sums.entry(name.into()).or_default() += f64::from(value) * samples as f64;
        }
    }

    /// The mean of the loss or of a metric; NaN before the first sample.
    pub(crate) fn mean(&self, name: &str) -> f64 {
        self.sums.get(name).map_or(f64::NAN, |sum| sum / self.samples as f64)
    }

    /// Whether it has exactly the loss and these metrics.
    pub(crate) fn is_of(&self, metrics: &[&'static str]) -> bool {
        self.sums.keys().eq(Self::new(metrics).sums.keys())
    }
}

pub(crate) struct Progress {
    bar: ProgressBar,
    metrics: &'static [&'static str],
    started: Instant,
    first: u64,
}

impl Progress {
    pub(crate) fn new(first: u64, steps: u64, metrics: &'static [&'static str]) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        let style = "{bar:24} {pos}/{len}  {msg}  {elapsed} of {duration}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, metrics, started: Instant::now(), first }
    }

    pub(crate) fn step(&self, steps: u64, so_far: &Means, rate: f64) {
        self.bar.set_position(steps);
        self.bar.set_message(self.line(steps, so_far, rate));
    }

    /// Means over the epoch so far, the learning rate, and the speed since the start.
    fn line(&self, steps: u64, so_far: &Means, rate: f64) -> String {
        let seconds = self.started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        let speed = (steps - self.first) as f64 / seconds;
        let each = |name| format!("{name} {:.4}  ", so_far.mean(name));
        let means: String = reported(self.metrics).into_iter().map(each).collect();
        format!("{means}lr {rate:.2e}  {speed:.0} steps/s")
    }

    /// Ends epoch number `epoch` of `of`. `held_out` is the last metric on the test set.
    pub(crate) fn epoch(
        &self,
        (epoch, of): (usize, u64),
        steps: u64,
        means: &Means,
        rate: f64,
        held_out: f64,
    ) -> Result<()> {
        if self.bar.is_hidden() {
            let line = self.line(steps, means, rate);
            let name = self.metrics.last().unwrap_or(&"loss");
            say(format_args!("epoch {epoch:>2}/{of}  {line}  test {name} {held_out:.4}"))?;
        }
        Ok(())
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
