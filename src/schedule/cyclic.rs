use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{Point, Schedule, at_least_one};
use crate::config;
use crate::error::{Error, at_least, half_open};

/// Cycles linearly between two rates, with an amplitude that can decrease. The momentum cycles in the opposite
/// direction.
///
/// `lr(k) = base_lr + (max_lr - base_lr) * x * f`. Here `x` is a triangular wave at step `k`: from 0 to 1 in
/// `step_size_up` steps and back in `step_size_down`. The factor `f` is 1 for `triangular`, `0.5^c` in cycle `c`
/// (from 0) for `triangular2`, and `gamma^k` for `exp_range`. The momentum is `max_momentum - (max_momentum -
/// base_momentum) * x * f`. The base rate of a group is not used.
///
/// Source: Smith 2017, arXiv:1506.01186; PyTorch 2.15, `torch.optim.lr_scheduler.CyclicLR`. Differs: one rate for all
/// groups; custom scale functions are not supported (use [`from_fn`](super::from_fn)); negative rates and momenta
/// outside `[0, 1)` are refused.
///
/// ```
/// use gradus::schedule::{CyclicLR, Schedule};
///
/// let schedule = CyclicLR { step_size_up: 4, ..CyclicLR::new(0.0, 1.0) };
/// assert_eq!([0, 1, 4, 6, 8].map(|k| schedule.at(k, 9.0).unwrap().lr), [0.0, 0.25, 1.0, 0.5, 0.0]);
/// assert_eq!(schedule.at(4, 9.0)?.momentum, Some(0.8));
/// # Ok::<(), gradus::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CyclicLR {
    /// The rate at the ends of a cycle, at least 0. Required.
    pub base_lr: f64,
    /// The rate in the middle of the first cycle, at least 0. Required.
    pub max_lr: f64,
    /// Updates on the way up, at least 1. Default 2000.
    #[serde(default = "step_size_up")]
    pub step_size_up: u64,
    /// Updates on the way down, at least 1. Default `step_size_up`.
    #[serde(default)]
    pub step_size_down: Option<u64>,
    /// How the amplitude decreases. Default [`CyclicMode::Triangular`].
    #[serde(default)]
    pub mode: CyclicMode,
    /// Factor of the amplitude per step in [`CyclicMode::ExpRange`], at least 0. Default 1.
    #[serde(default = "gamma")]
    pub gamma: f64,
    /// Whether to cycle the momentum, from `max_momentum` to `base_momentum` and back. Default true.
    #[serde(default = "cycle_momentum")]
    pub cycle_momentum: bool,
    /// The momentum at `max_lr`, in `[0, 1)`. Default 0.8.
    #[serde(default = "base_momentum")]
    pub base_momentum: f64,
    /// The momentum at `base_lr`, in `[0, 1)`. Default 0.9.
    #[serde(default = "max_momentum")]
    pub max_momentum: f64,
}

/// How the amplitude of a [`CyclicLR`] decreases.
///
/// ```
/// use gradus::schedule::{CyclicLR, CyclicMode};
///
/// let schedule = CyclicLR { mode: CyclicMode::Triangular2, ..CyclicLR::new(1e-4, 1e-2) };
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CyclicMode {
    /// It is constant.
    #[default]
    Triangular,
    /// It halves in each cycle.
    Triangular2,
    /// It is multiplied by `gamma` in each step.
    ExpRange,
}

impl CyclicLR {
    /// A triangular wave of 2000 updates up and 2000 down, with the momentum between 0.9 and 0.8.
    #[must_use]
    pub fn new(base_lr: f64, max_lr: f64) -> Self {
        Self {
            base_lr,
            max_lr,
            step_size_up: step_size_up(),
            step_size_down: None,
            mode: CyclicMode::default(),
            gamma: gamma(),
            cycle_momentum: cycle_momentum(),
            base_momentum: base_momentum(),
            max_momentum: max_momentum(),
        }
    }
}

impl Schedule for CyclicLR {
    fn at(&self, step: u64, _base: f64) -> Result<Point, Error> {
        self.check_lengths()?;
        let (up, down) = (self.step_size_up, self.step_size_down.unwrap_or(self.step_size_up));
        // The sum of two lengths can exceed 64 bits.
        let (length, now) = (u128::from(up) + u128::from(down), u128::from(step));
        let (cycle, place) = (now / length, now % length);
        let height = match place <= u128::from(up) {
            true => place as f64 / up as f64,
            false => (length - place) as f64 / down as f64,
        };
        let height = height
            * match self.mode {
                CyclicMode::Triangular => 1.0,
                CyclicMode::Triangular2 => 0.5_f64.powf(cycle as f64),
                CyclicMode::ExpRange => self.gamma.powf(step as f64),
            };
        let momentum = self.max_momentum - (self.max_momentum - self.base_momentum) * height;
        Point {
            lr: self.base_lr + (self.max_lr - self.base_lr) * height,
            momentum: self.cycle_momentum.then_some(momentum),
        }
        .finite(step)
    }

    fn check(&self) -> Result<(), Error> {
        at_least("base_lr", self.base_lr, 0.0)?;
        at_least("max_lr", self.max_lr, 0.0)?;
        self.check_lengths()?;
        at_least("gamma", self.gamma, 0.0)?;
        half_open("base_momentum", self.base_momentum, 0.0, 1.0)?;
        half_open("max_momentum", self.max_momentum, 0.0, 1.0)
    }

    fn to_json(&self) -> Option<Value> {
        Some(config::write("CyclicLR", self))
    }
}

impl CyclicLR {
    fn check_lengths(&self) -> Result<(), Error> {
        at_least_one("step_size_up", self.step_size_up)?;
        self.step_size_down.map_or(Ok(()), |steps| at_least_one("step_size_down", steps))
    }
}

fn step_size_up() -> u64 {
    2000
}

fn gamma() -> f64 {
    1.0
}

fn cycle_momentum() -> bool {
    true
}

fn base_momentum() -> f64 {
    0.8
}

fn max_momentum() -> f64 {
    0.9
}
