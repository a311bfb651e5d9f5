//! The runs of one optimizer together.

use super::contender::Contender;
use super::record::{Record, Times};
use crate::curves::quantile;

/// Steps over which losses are averaged, and their variance is taken.
pub(crate) const WINDOW: usize = 20;

pub(crate) struct Summary<'r> {
    pub(crate) contender: &'r Contender,
    pub(crate) runs: &'r [(Record, Times)],
}

/// The median over seeds, and the quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Middle {
    pub(crate) median: f64,
    pub(crate) band: (f64, f64),
}

impl Middle {
    /// NaN of nothing.
    pub(crate) fn of(mut values: Vec<f64>) -> Self {
        if values.is_empty() {
            return Self { median: f64::NAN, band: (f64::NAN, f64::NAN) };
        }
        values.sort_by(f64::total_cmp);
        Self { median: quantile(&values, 0.5), band: (quantile(&values, 0.25), quantile(&values, 0.75)) }
    }
}

impl<'r> Summary<'r> {
    pub(crate) fn new(contender: &'r Contender, runs: &'r [(Record, Times)]) -> Self {
        Self { contender, runs }
    }

    /// Runs that have diverged.
    pub(crate) fn diverged(&self) -> usize {
        self.runs.iter().filter(|(record, _)| record.diverged.is_some()).count()
    }

    pub(crate) fn train_loss(&self) -> Middle {
        self.last(f64::INFINITY, |record| &record.epochs.train_loss)
    }

    pub(crate) fn val_loss(&self) -> Middle {
        self.last(f64::INFINITY, |record| &record.epochs.val_loss)
    }

    pub(crate) fn val_accuracy(&self) -> Middle {
        self.last(f64::NEG_INFINITY, |record| &record.epochs.val_accuracy)
    }

    /// Of the last epoch, or `otherwise` if a run has diverged.
    fn last(&self, otherwise: f64, column: impl Fn(&Record) -> &Vec<f64>) -> Middle {
        let of = |(record, _): &(Record, Times)| match record.diverged {
            None => column(record).last().copied().unwrap_or(otherwise),
            Some(_) => otherwise,
        };
        Middle::of(self.runs.iter().map(of).collect())
    }

    /// Seconds an epoch: of each run the median over its epochs.
    pub(crate) fn seconds(&self) -> Middle {
        let of = |(_, times): &(Record, Times)| Middle::of(times.epochs.clone()).median;
        Middle::of(self.runs.iter().map(of).filter(|seconds| seconds.is_finite()).collect())
    }

    /// Bytes of state a parameter.
    pub(crate) fn bytes(&self) -> f64 {
        self.runs.first().map_or(f64::NAN, |(record, _)| record.state_bytes as f64 / record.parameters as f64)
    }

    /// What `of` makes of the losses of the steps so far, for each of `len` steps of each run; infinite once it has diverged.
    pub(crate) fn by_step(&self, len: usize, of: impl Fn(&[f32]) -> f64) -> Vec<Vec<f64>> {
        let run = |(record, _): &(Record, Times)| {
            let loss = &record.steps.loss;
            let value = |step: usize| if step < loss.len() { of(&loss[..=step]) } else { f64::INFINITY };
            (0..len).map(value).collect()
        };
        self.runs.iter().map(run).collect()
    }

    /// A column of each run with a value for each of `len` epochs; `otherwise` once it has diverged.
    pub(crate) fn by_epoch(
        &self,
        len: usize,
        otherwise: f64,
        column: impl Fn(&Record) -> Vec<f64>,
    ) -> Vec<Vec<f64>> {
        let run = |(record, _): &(Record, Times)| {
            let mut values = column(record);
            values.resize(len, otherwise);
            values
        };
        self.runs.iter().map(run).collect()
    }

    /// What is best comes first: by the validation loss, then by the runs that have not diverged.
    pub(crate) fn rank(&self) -> (f64, usize) {
        let loss = self.val_loss().median;
        (if loss.is_finite() { loss } else { f64::INFINITY }, self.diverged())
    }
}

/// Mean of the last steps.
pub(crate) fn mean(losses: &[f32]) -> f64 {
    let last = &losses[losses.len().saturating_sub(WINDOW)..];
    last.iter().map(|loss| f64::from(*loss)).sum::<f64>() / last.len() as f64
}

/// The same as a part of the first step's loss.
pub(crate) fn relative(losses: &[f32]) -> f64 {
    mean(losses) / f64::from(losses[0]).max(f64::MIN_POSITIVE)
}

/// Variance of the last steps around their mean.
pub(crate) fn variance(losses: &[f32]) -> f64 {
    let last = &losses[losses.len().saturating_sub(WINDOW)..];
    let mean = mean(last);
    last.iter().map(|loss| (f64::from(*loss) - mean).powi(2)).sum::<f64>() / last.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_hold_the_last_steps() {
        let losses: Vec<f32> = (1..=30).map(|step| step as f32).collect();
        assert_eq!(mean(&losses), 20.5);
        assert_eq!(mean(&losses[..4]), 2.5);
        assert_eq!(relative(&[4.0, 2.0]), 0.75);
        // Of n consecutive numbers it is (n^2 - 1) / 12.
        assert!((variance(&losses) - 399.0 / 12.0).abs() < 1e-12);
        assert_eq!(variance(&[3.0]), 0.0);
    }

    #[test]
    fn the_middle_of_diverged_runs_is_not_a_number() {
        let inf = f64::INFINITY;
        assert_eq!(Middle::of(vec![3.0, 1.0, inf]), Middle { median: 3.0, band: (2.0, inf) });
        assert_eq!(Middle::of(vec![1.0, inf]).median, inf);
        assert_eq!(Middle::of(vec![inf, inf]), Middle { median: inf, band: (inf, inf) });
        assert!(Middle::of(Vec::new()).median.is_nan());
    }
}
