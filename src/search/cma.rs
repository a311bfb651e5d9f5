//! What the host does of CMA-ES between generations, in f64.

use serde::{Deserialize, Serialize};

use super::eigen;
use super::method::{Shape, narrow};

/// Rates of CMA-ES (Hansen 2016, arXiv:1604.00772, table 1) for weights by rank that are not negative and sum to 1.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
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
}

/// Mean, step size and covariance, which the host moves between generations.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct HostStep {
    weights: Vec<f64>,
    rates: Rates,
    generation: u64,
    sigma: f64,
    mean: Vec<f64>,
    path_sigma: Vec<f64>,
    path_c: Vec<f64>,
    /// `[d, d]`, by rows.
    covariance: Vec<f64>,
    /// `[d, d]`, by rows; the columns are the eigenvectors.
    vectors: Vec<f64>,
    /// Roots of the eigenvalues.
    scales: Vec<f64>,
    /// Generations since the eigenvectors were those of the covariance.
    stale: u64,
}

impl HostStep {
    pub(crate) fn new(shape: Shape, start: &[f32], sigma: f64) -> Self {
        let d = shape.dimensions;
        let half = (shape.members as f64 / 2.0 + 0.5).ln();
        let mut weights: Vec<f64> = (1..=shape.members / 2).map(|rank| half - (rank as f64).ln()).collect();
        let sum: f64 = weights.iter().sum();
        weights.iter_mut().for_each(|weight| *weight /= sum);
        let identity: Vec<f64> = (0..d * d).map(|at| f64::from(u8::from(at % (d + 1) == 0))).collect();
        Self {
            rates: Rates::new(&weights, d),
            weights,
            generation: 0,
            sigma,
            mean: start.iter().copied().map(f64::from).collect(),
            path_sigma: vec![0.0; d],
            path_c: vec![0.0; d],
            covariance: identity.clone(),
            vectors: identity,
            scales: vec![1.0; d],
            stale: 0,
        }
    }

    /// Whether it is of so many dimensions and members.
    pub(crate) fn fits(&self, shape: Shape) -> bool {
        let d = shape.dimensions;
        let vectors = [&self.mean, &self.path_sigma, &self.path_c, &self.scales];
        vectors.iter().all(|vector| vector.len() == d)
            && [&self.covariance, &self.vectors].iter().all(|matrix| matrix.len() == d * d)
            && self.weights.len() == shape.members / 2
    }

    /// Moves on, by the normal numbers of a generation, `[d, members]`, and its members from the best to the worst.
    pub(crate) fn update(&mut self, noise: &[f32], order: &[u32]) {
        let d = self.mean.len();
        let members = order.len();
        let r = self.rates;
        self.generation += 1;
        let mut z_mean = vec![0.0; d];
        let mut steps = Vec::with_capacity(self.weights.len());
        for (weight, member) in self.weights.iter().zip(order) {
            let z: Vec<f64> = (0..d).map(|i| f64::from(noise[i * members + *member as usize])).collect();
            z_mean.iter_mut().zip(&z).for_each(|(mean, z)| *mean += weight * z);
            steps.push(self.turned(&self.scaled(&z)));
        }
        let y_mean = self.turned(&self.scaled(&z_mean));
        self.mean.iter_mut().zip(&y_mean).for_each(|(mean, y)| *mean += self.sigma * y);
        let step = (r.c_sigma * (2.0 - r.c_sigma) * r.mu_eff).sqrt();
        for (path, y) in self.path_sigma.iter_mut().zip(product(&self.vectors, &z_mean)) {
            *path = (1.0 - r.c_sigma) * *path + step * y;
        }
        let norm = self.path_sigma.iter().map(|path| path * path).sum::<f64>().sqrt();
        let kept = 1.0 - (1.0 - r.c_sigma).powf(2.0 * self.generation as f64);
        let goes = norm / kept.sqrt() < (1.4 + 2.0 / (d as f64 + 1.0)) * r.expected_norm;
        let step = if goes { (r.c_c * (2.0 - r.c_c) * r.mu_eff).sqrt() } else { 0.0 };
        for (path, y) in self.path_c.iter_mut().zip(&y_mean) {
            *path = (1.0 - r.c_c) * *path + step * y;
        }
        self.update_covariance(&steps, goes);
        self.sigma *= (r.c_sigma / r.d_sigma * (norm / r.expected_norm - 1.0)).min(1.0).exp();
        // The device has f32.
        self.sigma = self.sigma.clamp(1e-12, 1e12);
        self.refresh();
    }

    fn scaled(&self, z: &[f64]) -> Vec<f64> {
        z.iter().zip(&self.scales).map(|(z, scale)| z * scale).collect()
    }

    fn turned(&self, scaled: &[f64]) -> Vec<f64> {
        product(&self.vectors, scaled)
    }

    fn update_covariance(&mut self, steps: &[Vec<f64>], goes: bool) {
        let d = self.mean.len();
        let r = self.rates;
        let lost = if goes { 0.0 } else { r.c_c * (2.0 - r.c_c) };
        let kept = 1.0 + r.c_1 * lost - r.c_1 - r.c_mu;
        let paths = std::iter::once((r.c_1, &self.path_c[..]));
        let steps = self.weights.iter().zip(steps).map(|(weight, step)| (r.c_mu * weight, &step[..]));
        self.covariance.iter_mut().for_each(|value| *value *= kept);
        for (weight, vector) in paths.chain(steps) {
            for (row, left) in self.covariance.chunks_exact_mut(d).zip(vector) {
                row.iter_mut().zip(vector).for_each(|(value, right)| *value += weight * left * right);
            }
        }
    }

    /// Takes eigenvectors anew, as often as keeps their cost at that of the updates.
    fn refresh(&mut self) {
        let d = self.mean.len();
        self.stale += 1;
        if (self.stale as f64) < 1.0 / ((self.rates.c_1 + self.rates.c_mu) * d as f64 * 10.0) {
            return;
        }
        self.stale = 0;
        let Some((values, vectors)) = eigen::symmetric(&self.covariance, d) else { return };
        let largest = values.iter().copied().fold(0.0, f64::max);
        if largest > 0.0 {
            let least = largest * 1e-14;
            self.scales = values.into_iter().map(|value| value.max(least).sqrt()).collect();
            self.vectors = vectors;
        }
    }

    /// What the device samples with: the mean, then `sigma B D` by rows.
    pub(crate) fn words(&self) -> Vec<u32> {
        let d = self.mean.len();
        let factor = (0..d * d).map(|at| {
            let (row, column) = (at / d, at % d);
            self.sigma * self.vectors[row * d + column] * self.scales[column]
        });
        self.mean.iter().copied().chain(factor).map(|value| narrow(value).to_bits()).collect()
    }
}

/// A square matrix times a vector.
fn product(matrix: &[f64], vector: &[f64]) -> Vec<f64> {
    let row = |row: &[f64]| row.iter().zip(vector).map(|(a, b)| a * b).sum();
    matrix.chunks_exact(vector.len()).map(row).collect()
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

    #[test]
    fn the_step_is_that_of_the_best_members() {
        let shape = Shape { members: 6, dimensions: 2, generations: None };
        let mut step = HostStep::new(shape, &[0.5, -0.5], 0.5);
        let noise = [1.0, 0.0, -1.0, 2.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 2.0, -1.0];
        step.update(&noise, &[0, 1, 2, 3, 4, 5]);
        let w = &step.weights;
        let want = [0.5 + 0.5 * (w[0] - w[2]), -0.5 + 0.5 * w[1]];
        assert!(step.mean.iter().zip(want).all(|(got, want)| (got - want).abs() < 1e-12), "{step:?}");
        let words = step.words();
        // B D is a root of the covariance.
        let f = |at: usize| f64::from(f32::from_bits(words[2 + at])) / step.sigma;
        let c = [f(0) * f(0) + f(1) * f(1), f(0) * f(2) + f(1) * f(3), f(2) * f(2) + f(3) * f(3)];
        for (got, want) in c.iter().zip([step.covariance[0], step.covariance[1], step.covariance[3]]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }
}
