use std::f64::consts::PI;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Point, Schedule, at_least_one};
use crate::config::{self, present};
use crate::error::{Error, above, at_least, closed, half_open};

/// One cycle: rises to `max_lr`, then falls far below the first rate. The momentum moves in the opposite direction.
///
/// In a cycle of `N` updates, the rate goes from `max_lr / div_factor` to `max_lr` at step `pct_start * N - 1`, and
/// to `max_lr / div_factor / final_div_factor` at step `N - 1`. With `three_phase`, it returns to its first value at
/// step `2 * pct_start * N - 2` and falls to the last value in a third phase. The base rate of a group is not used.
///
/// # Errors
/// [`Schedule::at`] refuses a step after `N`, as PyTorch does; step `N` itself, which no update of
/// the cycle uses, continues the last phase.
///
/// Source: Smith & Topin 2019, arXiv:1708.07120; PyTorch 2.15, `torch.optim.lr_scheduler.OneCycleLR`.
/// Differs: a first phase of no length starts at `max_lr` where PyTorch divides by zero; negative rates
/// and momenta outside `[0, 1)` are refused.
///
/// ```
/// use gradus::schedule::{OneCycleLR, Schedule};
///
/// let schedule = OneCycleLR::new(0.1, 100);
/// let peak = schedule.at(29, 0.0)?;
/// assert_eq!((peak.lr, peak.momentum), (0.1, Some(0.85)));
/// assert!(schedule.at(101, 0.0).is_err());
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneCycleLR {
    /// The highest rate, at least 0. Required.
    pub max_lr: f64,
    /// Updates of the cycle, at least 1. Required, unless `epochs` and `steps_per_epoch` give it.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub total_steps: Option<u64>,
    /// Epochs of the cycle, at least 1; together with `steps_per_epoch`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub epochs: Option<u64>,
    /// Updates in an epoch, at least 1; together with `epochs`.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub steps_per_epoch: Option<u64>,
    /// Fraction of the cycle in which the rate rises, in `[0, 1]`. Default 0.3.
    #[serde(default = "pct_start")]
    pub pct_start: f64,
    /// The shape of each phase. Default [`Anneal::Cos`].
    #[serde(default)]
    pub anneal_strategy: Anneal,
    /// Ratio of `max_lr` to the first rate, above 0. Default 25.
    #[serde(default = "div_factor")]
    pub div_factor: f64,
    /// Ratio of the first rate to the last, above 0. Default 1e4.
    #[serde(default = "final_div_factor")]
    pub final_div_factor: f64,
    /// Whether the decay has two phases: to the first rate, then to the last. Default false.
    #[serde(default)]
    pub three_phase: bool,
    /// Whether to cycle the momentum, from `max_momentum` to `base_momentum` and back. Default true.
    #[serde(default = "cycle_momentum")]
    pub cycle_momentum: bool,
    /// The momentum at `max_lr`, in `[0, 1)`. Default 0.85.
    #[serde(default = "base_momentum")]
    pub base_momentum: f64,
    /// The momentum at both ends, in `[0, 1)`. Default 0.95.
    #[serde(default = "max_momentum")]
    pub max_momentum: f64,
}

/// The shape of a phase of [`OneCycleLR`].
///
/// ```
/// use gradus::schedule::{Anneal, OneCycleLR};
///
/// let schedule = OneCycleLR { anneal_strategy: Anneal::Linear, ..OneCycleLR::new(1e-2, 1000) };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anneal {
    /// Half a cosine wave: `end + (start - end) * (1 + cos(pi * part)) / 2`.
    #[default]
    Cos,
    /// A straight line: `start + (end - start) * part`.
    Linear,
}

impl Anneal {
    fn between(self, (start, end): (f64, f64), part: f64) -> f64 {
        match self {
            Self::Cos => end + (start - end) / 2.0 * (1.0 + (PI * part).cos()),
            Self::Linear => start + (end - start) * part,
        }
    }
}

/// A phase that ends at the step `end`, with the values at its two ends.
struct Phase {
    end: f64,
    lr: (f64, f64),
    momentum: (f64, f64),
}

impl OneCycleLR {
    /// A cycle of `total_steps` updates with its peak at `max_lr`.
    #[must_use]
    pub fn new(max_lr: f64, total_steps: u64) -> Self {
        Self { total_steps: Some(total_steps), ..Self::unbounded(max_lr) }
    }

    /// A cycle of `epochs * steps_per_epoch` updates with its peak at `max_lr`.
    #[must_use]
    pub fn of_epochs(max_lr: f64, epochs: u64, steps_per_epoch: u64) -> Self {
        Self { epochs: Some(epochs), steps_per_epoch: Some(steps_per_epoch), ..Self::unbounded(max_lr) }
    }

    fn unbounded(max_lr: f64) -> Self {
        Self {
            max_lr,
            total_steps: None,
            epochs: None,
            steps_per_epoch: None,
            pct_start: pct_start(),
            anneal_strategy: Anneal::default(),
            div_factor: div_factor(),
            final_div_factor: final_div_factor(),
            three_phase: false,
            cycle_momentum: cycle_momentum(),
            base_momentum: base_momentum(),
            max_momentum: max_momentum(),
        }
    }

    /// The length of the cycle, from whichever fields give it.
    fn total(&self) -> Result<u64, Error> {
        let refuse = |reason: String| Error::Config { what: "schedule OneCycleLR".into(), reason };
        match (self.total_steps, self.epochs, self.steps_per_epoch) {
            (Some(total), None, None) => Ok(total),
            (total, Some(epochs), Some(steps)) => {
                let product = epochs
                    .checked_mul(steps)
                    .ok_or_else(|| refuse(format!("{epochs} epochs of {steps} steps are too many")))?;
                match total {
                    Some(total) if total != product => Err(refuse(format!(
                        "total_steps is {total}, but {epochs} epochs of {steps} steps are {product}"
                    ))),
                    _ => Ok(product),
                }
            }
            _ => Err(refuse("needs total_steps, or both epochs and steps_per_epoch".into())),
        }
    }

    fn phases(&self, total: u64) -> Vec<Phase> {
        let rise = self.pct_start * total as f64;
        let first = self.max_lr / self.div_factor;
        let (last, peak) = (first / self.final_div_factor, self.max_lr);
        let (low, high) = (self.base_momentum, self.max_momentum);
        let end = total as f64 - 1.0;
        let up = Phase { end: rise - 1.0, lr: (first, peak), momentum: (high, low) };
        if self.three_phase {
            let down = Phase { end: 2.0 * rise - 2.0, lr: (peak, first), momentum: (low, high) };
            vec![up, down, Phase { end, lr: (first, last), momentum: (high, high) }]
        } else {
            vec![up, Phase { end, lr: (peak, last), momentum: (low, high) }]
        }
    }
}

impl Schedule for OneCycleLR {
    fn at(&self, step: u64, _base: f64) -> Result<Point, Error> {
        let total = self.total()?;
        if step > total {
            return Err(Error::constant(
                "step",
                format!("at most {total}, the total_steps of OneCycleLR"),
                step,
            ));
        }
        let now = step as f64;
        let phases = self.phases(total);
        let index = phases.iter().position(|phase| now <= phase.end).unwrap_or(phases.len() - 1);
        let start = if index == 0 { 0.0 } else { phases[index - 1].end };
        let phase = &phases[index];
        let part = if phase.end == start { 1.0 } else { (now - start) / (phase.end - start) };
        let between = |ends| self.anneal_strategy.between(ends, part);
        Point { lr: between(phase.lr), momentum: self.cycle_momentum.then(|| between(phase.momentum)) }
            .finite(step)
    }

    fn check(&self) -> Result<(), Error> {
        at_least("max_lr", self.max_lr, 0.0)?;
        for (name, steps) in [
            ("total_steps", self.total_steps),
            ("epochs", self.epochs),
            ("steps_per_epoch", self.steps_per_epoch),
        ] {
            steps.map_or(Ok(()), |steps| at_least_one(name, steps))?;
        }
        self.total()?;
        closed("pct_start", self.pct_start, 0.0, 1.0)?;
        above("div_factor", self.div_factor, 0.0)?;
        above("final_div_factor", self.final_div_factor, 0.0)?;
        half_open("base_momentum", self.base_momentum, 0.0, 1.0)?;
        half_open("max_momentum", self.max_momentum, 0.0, 1.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("OneCycleLR", self))
    }
}

fn pct_start() -> f64 {
    0.3
}

fn div_factor() -> f64 {
    25.0
}

fn final_div_factor() -> f64 {
    1e4
}

fn cycle_momentum() -> bool {
    true
}

fn base_momentum() -> f64 {
    0.85
}

fn max_momentum() -> f64 {
    0.95
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assert_points(schedule: &OneCycleLR, rows: &[(u64, f64, f64)]) {
        for &(step, lr, momentum) in rows {
            let got = schedule.at(step, f64::NAN).unwrap();
            let close = |got: f64, want: f64| (got - want).abs() <= 1e-12 * want.abs() + 1e-15;
            assert!(close(got.lr, lr) && close(got.momentum.unwrap(), momentum), "step {step}: {got:?}");
        }
    }

    // The numbers follow PyTorch's recipe, evaluated in Python.
    #[test]
    fn three_phases_split_the_way_down() {
        let cos = OneCycleLR { three_phase: true, ..OneCycleLR::of_epochs(0.1, 4, 5) };
        assert_points(
            &cos,
            &[
                (0, 0.004, 0.95),
                (2, 0.037_167_184_270_002_526, 0.915_450_849_718_747_4),
                (4, 0.090_832_815_729_997_48, 0.859_549_150_281_252_6),
                (8, 0.037_167_184_270_002_526, 0.915_450_849_718_747_4),
                (10, 0.004, 0.95),
                (19, 4e-7, 0.95),
                (20, 0.000_121_002_696_952_340_31, 0.95),
            ],
        );
        let linear = OneCycleLR { anneal_strategy: Anneal::Linear, ..cos };
        assert_points(&linear, &[(2, 0.0424, 0.91), (6, 0.0808, 0.87), (10, 0.004, 0.95), (19, 4e-7, 0.95)]);
    }

    #[test]
    fn a_cycle_may_have_no_way_up() {
        let falling = OneCycleLR { pct_start: 0.0, ..OneCycleLR::new(1.0, 10) };
        assert_points(&falling, &[(0, 0.975_528_356_034_544_2, 0.852_447_174_185_242_3), (9, 4e-6, 0.95)]);
        assert_points(&OneCycleLR::new(1.0, 1), &[(0, 4e-6, 0.95)]);
        assert_points(
            &OneCycleLR { pct_start: 0.1, ..OneCycleLR::new(1.0, 10) },
            &[(0, 1.0, 0.85), (9, 4e-6, 0.95)],
        );
    }

    #[test]
    fn a_step_past_the_end_is_refused_and_momentum_is_optional() {
        let schedule = OneCycleLR { cycle_momentum: false, ..OneCycleLR::new(1.0, 10) };
        assert_eq!(schedule.at(0, 0.0).unwrap().momentum, None);
        assert!(schedule.at(10, 0.0).is_ok());
        assert_eq!(
            schedule.at(11, 0.0).unwrap_err().to_string(),
            "step must be at most 10, the total_steps of OneCycleLR, got 11"
        );
    }
}
