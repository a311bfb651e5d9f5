/// The momentum of NAdam in a step of a tensor: `beta1 * (1 - 0.96^(step * momentum_decay) / 2)`.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Mu {
    /// Limit of the momentum.
    pub beta1: f64,
    /// Rate of its growth.
    pub momentum_decay: f64,
}

impl Mu {
    /// The momentum in a step, counted from 1.
    #[expect(clippy::cast_precision_loss, reason = "step counts stay far below 2^53")]
    pub fn at(&self, step: u64) -> f64 {
        self.beta1 * (1.0 - 0.5 * 0.96f64.powf(step as f64 * self.momentum_decay))
    }

    /// The product over the first steps. The loop is short for any number: it ends when the product is negligible
    /// beside 1, or when the momentum no longer changes.
    #[expect(clippy::cast_precision_loss, reason = "step counts stay far below 2^53")]
    pub fn product(&self, steps: u64) -> f64 {
        let mut product = 1.0;
        for step in 1..=steps {
            let momentum = self.at(step);
            if momentum == self.beta1 {
                return product * momentum.powf((steps - step + 1) as f64);
            }
            product *= momentum;
            if product < f64::EPSILON / 4.0 {
                return 0.0;
            }
        }
        product
    }
}

/// The product of the momenta of all steps of a tensor, each with the options of its step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Momenta {
    /// All steps so far had the same options, so their number determines the product.
    Same(Mu),
    Product(f64),
}

impl Default for Momenta {
    fn default() -> Self {
        Self::NONE
    }
}

impl Momenta {
    /// The product of no steps.
    pub(crate) const NONE: Self = Self::Same(Mu { beta1: 0.0, momentum_decay: 0.0 });

    /// The product with one more step, whose number is `step`.
    pub(crate) fn then(self, mu: Mu, step: u64) -> Self {
        match self {
            _ if step == 1 => Self::Same(mu),
            Self::Same(same) if same == mu => self,
            _ => Self::Product(self.product(step - 1) * mu.at(step)),
        }
    }

    /// The product after `steps` steps.
    pub(crate) fn product(self, steps: u64) -> f64 {
        match self {
            Self::Same(mu) => mu.product(steps),
            Self::Product(product) => product,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_product_of_momenta_is_that_of_a_plain_loop() {
        for momentum_decay in [0.0, 1e-6, 4e-3, 0.5, 30.0, 1e4] {
            for beta1 in [0.0, 0.5, 0.9, 0.9999, 1.0 - 1e-16] {
                let mu = Mu { beta1, momentum_decay };
                let mut plain = 1.0;
                for step in 1..5000 {
                    plain *= mu.at(step);
                    let off = (mu.product(step) - plain).abs();
                    assert!(off < 1e-12 * plain + 1e-16, "{mu:?}, step {step}: off by {off:e}");
                }
            }
        }
    }

    #[test]
    fn any_step_is_reached_at_once() {
        // A loop over all steps would not end.
        for momentum_decay in [0.0, 1e-12, 4e-3, 1.0] {
            let product = Mu { beta1: 1.0 - 1e-16, momentum_decay }.product(1 << 50);
            assert!((0.0..1e-5).contains(&product), "{product}");
        }
    }

    #[test]
    fn each_step_counts_with_its_own_momentum() {
        let mu = |step: u64| Mu { beta1: if step < 4 { 0.9 } else { 0.95 }, momentum_decay: 4e-3 };
        let (mut momenta, mut plain) = (Momenta::default(), 1.0);
        for step in 1..8 {
            momenta = momenta.then(mu(step), step);
            plain *= mu(step).at(step);
            assert_eq!(momenta == Momenta::Same(mu(1)), step < 4);
            assert!((momenta.product(step) - plain).abs() < 1e-15, "step {step}");
        }
    }
}
