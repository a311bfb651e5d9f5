//! Values that depend on all earlier steps of a tensor, computed on the host in f64 from the options of each step.

use std::collections::BTreeMap;

use super::momenta::{Momenta, Mu};

/// What a step with these options contributes to its tensor's values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Recurrence {
    /// A factor to a product of momenta.
    Momentum(Mu),
    /// The learning rate and averaging weight of the next step.
    Decay(Decay),
    /// A term to a sum of weights.
    Weight(Weight),
}

/// Decay of ASGD's learning rate and of the weight of the parameters in their average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decay {
    /// Learning rate.
    pub lr: f64,
    /// Decay factor of the parameters and of the learning rate.
    pub lambd: f64,
    /// Exponent of the learning rate's decay.
    pub alpha: f64,
    /// Number of steps before averaging starts.
    pub t0: f64,
}

impl Decay {
    /// Learning rate and weight of the step after step number `step`, counted from 1.
    #[expect(clippy::cast_precision_loss, reason = "step counts stay far below 2^53")]
    pub fn after(&self, step: u64) -> (f64, f64) {
        let step = step as f64;
        (self.lr / (1.0 + self.lambd * self.lr * step).powf(self.alpha), 1.0 / (step - self.t0).max(1.0))
    }
}

/// The weight of a step's iterate in an average whose weights follow the learning rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Weight {
    /// Learning rate after the warm-up.
    pub lr: f64,
    /// Number of warm-up steps.
    pub warmup_steps: u64,
    /// The weight is the largest learning rate so far to this power.
    pub power: f64,
}

impl Weight {
    /// The learning rate of a step. optax counts steps from 0 in the update and from 1 in the weight.
    #[expect(clippy::cast_precision_loss, reason = "step counts stay far below 2^53")]
    pub fn rate(&self, step: u64) -> f64 {
        if step >= self.warmup_steps {
            return self.lr;
        }
        self.lr * (step as f64 / self.warmup_steps as f64)
    }
}

/// The values carried from earlier steps of a tensor.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Carried {
    #[default]
    Nothing,
    Momenta(Momenta),
    /// Of the next step.
    Decayed {
        eta: f64,
        mu: f64,
    },
    Weighted {
        sum: f64,
        largest: f64,
    },
}

impl Carried {
    /// The values after one more step, whose number is `step`.
    pub(crate) fn then(self, recurrence: Option<Recurrence>, step: u64) -> Self {
        match recurrence {
            None => Self::Nothing,
            Some(Recurrence::Momentum(mu)) => Self::Momenta(self.momenta().then(mu, step)),
            Some(Recurrence::Decay(decay)) => {
                let (eta, mu) = decay.after(step);
                Self::Decayed { eta, mu }
            }
            Some(Recurrence::Weight(weight)) => {
                let (sum, largest) = self.weighted();
                let largest = largest.max(weight.rate(step));
                Self::Weighted { sum: sum + largest.powf(weight.power), largest }
            }
        }
    }

    /// NAdam's product of momenta.
    pub(crate) fn momenta(self) -> Momenta {
        if let Self::Momenta(momenta) = self { momenta } else { Momenta::default() }
    }

    /// The sum of the weights, and the largest learning rate.
    pub(crate) fn weighted(self) -> (f64, f64) {
        if let Self::Weighted { sum, largest } = self { (sum, largest) } else { (0.0, 0.0) }
    }

    /// The scalars for a state dict.
    pub(crate) fn scalars(self) -> BTreeMap<String, f64> {
        let pairs = match self {
            Self::Nothing | Self::Momenta(_) => Vec::new(),
            Self::Decayed { eta, mu } => vec![(ETA, eta), (MU, mu)],
            Self::Weighted { sum, largest } => vec![(WEIGHT_SUM, sum), (MAX_LR, largest)],
        };
        pairs.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// Reads the scalars of a state dict for a tensor with `steps` steps, or says what is wrong with them. `scalar`
    /// takes a number by name.
    pub(crate) fn read(
        recurrence: Option<Recurrence>,
        steps: u64,
        mut scalar: impl FnMut(&str) -> Option<f64>,
    ) -> Result<Self, String> {
        let names = match recurrence {
            None | Some(Recurrence::Momentum(_)) => return Ok(Self::Nothing),
            Some(Recurrence::Decay(_)) => [ETA, MU],
            Some(Recurrence::Weight(_)) => [WEIGHT_SUM, MAX_LR],
        };
        let [first, second] = match names.map(&mut scalar) {
            [None, None] if steps == 0 => return Ok(Self::Nothing),
            [Some(first), Some(second)] => [first, second],
            [first, _] => return Err(format!("lacks {:?}", names[usize::from(first.is_some())])),
        };
        for (name, value) in names.into_iter().zip([first, second]) {
            let most = if name == MU { 1.0 } else { f64::MAX };
            if !(0.0..=most).contains(&value) {
                let allowed = if name == MU { "in [0, 1]" } else { "finite and at least 0" };
                return Err(format!("has {name} {}, expected {allowed}", crate::error::short(value)));
            }
        }
        Ok(match names {
            [ETA, _] => Self::Decayed { eta: first, mu: second },
            _ => Self::Weighted { sum: first, largest: second },
        })
    }
}

/// torch's key.
const ETA: &str = "eta";
const MU: &str = "mu";
/// optax's key.
const WEIGHT_SUM: &str = "weight_sum";
const MAX_LR: &str = "max_lr";

/// All scalars that any rule keeps for a tensor, besides its step count and product of momenta.
pub(crate) const SCALARS: [&str; 4] = [ETA, MU, WEIGHT_SUM, MAX_LR];

#[cfg(test)]
mod tests {
    use super::*;

    const WEIGHT: Weight = Weight { lr: 0.5, warmup_steps: 4, power: 2.0 };

    #[test]
    fn rates_of_a_warm_up_rise_to_the_rate() {
        assert_eq!([0, 1, 2, 4, 9].map(|step| WEIGHT.rate(step)), [0.0, 0.125, 0.25, 0.5, 0.5]);
        assert_eq!(Weight { warmup_steps: 0, ..WEIGHT }.rate(0), 0.5);
    }

    #[test]
    fn weights_are_of_the_largest_rate_so_far() {
        let mut carried = Carried::default();
        for (step, lr) in [(1, 0.5), (2, 0.5), (3, 0.01)] {
            carried = carried.then(Some(Recurrence::Weight(Weight { lr, ..WEIGHT })), step);
        }
        assert_eq!(carried, Carried::Weighted { sum: 0.125 * 0.125 + 2.0 * 0.25 * 0.25, largest: 0.25 });
    }

    #[test]
    fn a_decayed_rate_is_that_of_the_latest_options() {
        let decay = |lr: f64| Some(Recurrence::Decay(Decay { lr, lambd: 0.5, alpha: 1.0, t0: 2.0 }));
        let carried = Carried::default().then(decay(1.0), 1);
        assert_eq!(carried, Carried::Decayed { eta: 1.0 / 1.5, mu: 1.0 });
        let carried = carried.then(decay(2.0), 6);
        assert_eq!(carried, Carried::Decayed { eta: 2.0 / 7.0, mu: 0.25 });
        assert_eq!(carried.then(None, 7), Carried::Nothing);
    }

    #[test]
    fn what_a_state_dict_says_is_read_back_or_refused() {
        for recurrence in [
            Recurrence::Weight(WEIGHT),
            Recurrence::Decay(Decay { lr: 1.0, lambd: 1.0, alpha: 1.0, t0: 0.0 }),
        ] {
            let carried = Carried::default().then(Some(recurrence), 3);
            let scalars = carried.scalars();
            let read = |steps: u64, change: Option<(&str, Option<f64>)>| {
                Carried::read(Some(recurrence), steps, |name| match change {
                    Some((changed, value)) if changed == name => value,
                    _ => scalars.get(name).copied(),
                })
            };
            assert_eq!(read(3, None), Ok(carried));
            for name in scalars.keys() {
                assert_eq!(read(3, Some((name, None))), Err(format!("lacks {name:?}")));
                assert_eq!(read(0, Some((name, None))), Err(format!("lacks {name:?}")));
                let refused = read(3, Some((name, Some(-1.0)))).unwrap_err();
                assert!(refused.starts_with(&format!("has {name} -1, expected")), "{refused}");
                assert!(read(3, Some((name, Some(f64::NAN)))).is_err());
            }
            assert_eq!(Carried::read(Some(recurrence), 0, |_| None), Ok(Carried::Nothing));
            assert!(Carried::read(Some(recurrence), 1, |_| None).is_err());
        }
    }
}
