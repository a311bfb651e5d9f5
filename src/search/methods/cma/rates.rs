/// Rates of CMA-ES (Hansen 2016, arXiv:1604.00772, table 1) for weights by rank that are not negative and sum to 1.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rates {
    pub(crate) mu_eff: f64,
    pub(crate) c_sigma: f64,
    pub(crate) d_sigma: f64,
    pub(crate) c_c: f64,
    pub(crate) c_1: f64,
    pub(crate) c_mu: f64,
    /// Of a vector of standard normal numbers.
    pub(crate) expected_norm: f64,
}

impl Rates {
    pub(crate) fn new(weights: &[f64], dimensions: usize) -> Self {
        let d = dimensions as f64;
        let mu_eff = 1.0 / weights.iter().map(|weight| weight * weight).sum::<f64>();
        let c_sigma = (mu_eff + 2.0) / (d + mu_eff + 5.0);
        let c_1 = 2.0 / ((d + 1.3).powi(2) + mu_eff);
        Self {
            mu_eff,
            c_sigma,
            d_sigma: 1.0 + 2.0 * (((mu_eff - 1.0) / (d + 1.0)).sqrt() - 1.0).max(0.0) + c_sigma,
            c_c: (4.0 + mu_eff / d) / (d + 4.0 + 2.0 * mu_eff / d),
            c_1,
            c_mu: (2.0 * (mu_eff - 2.0 + 1.0 / mu_eff) / ((d + 2.0).powi(2) + mu_eff)).clamp(0.0, 1.0 - c_1),
            expected_norm: d.sqrt() * (1.0 - 1.0 / (4.0 * d) + 1.0 / (21.0 * d * d)),
        }
    }

    /// Of a covariance without covariances, which has so much less to learn.
    pub(crate) fn separable(self, dimensions: usize) -> Self {
        let factor = (dimensions as f64 + 2.0) / 3.0;
        let c_1 = (self.c_1 * factor).min(0.5);
        Self { c_1, c_mu: (self.c_mu * factor).min(1.0 - c_1), ..self }
    }

    /// Generations after which what was learned has moved a covariance by about a tenth.
    pub(crate) fn period(self, dimensions: usize) -> u32 {
        let rate = 10.0 * dimensions as f64 * (self.c_1 + self.c_mu);
        // As a whole number: a rate is at least of the order of 1 / dimensions.
        (1..=1024).take_while(|period| f64::from(*period) * rate <= 1.0).last().unwrap_or(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The rates of the tutorial's example sizes, computed by hand from its table.
    #[test]
    fn rates_are_those_of_the_tutorial() {
        let weights = [0.5, 0.3, 0.2];
        let rates = Rates::new(&weights, 4);
        let mu_eff = 1.0 / 0.38;
        assert!((rates.mu_eff - mu_eff).abs() < 1e-12);
        assert!((rates.c_sigma - (mu_eff + 2.0) / (mu_eff + 9.0)).abs() < 1e-12);
        assert!((rates.c_1 - 2.0 / (5.3 * 5.3 + mu_eff)).abs() < 1e-12);
        assert!((rates.expected_norm - 1.8809524).abs() < 1e-6);
    }
}
