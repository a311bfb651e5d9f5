//! Points of a plane, `y = 3 x1 + 2 x2` with noise.

use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg32;

pub(crate) const SAMPLES: usize = 1000;

/// Inputs of two numbers, and targets.
pub(crate) struct LineData {
    x: Vec<[f32; 2]>,
    y: Vec<f32>,
}

impl LineData {
    pub(crate) fn new() -> Self {
        let mut random = Pcg32::new(42, 0);
        let mut normal = || -> f32 { StandardNormal.sample(&mut random) };
        let x: Vec<[f32; 2]> = (0..SAMPLES).map(|_| [normal(), normal()]).collect();
        let y = x.iter().map(|x| 3.0 * x[0] + 2.0 * x[1] + 0.1 * normal()).collect();
        Self { x, y }
    }

    /// The inputs of these samples one after the other, and their targets.
    pub(crate) fn rows(&self, rows: &[usize]) -> (Vec<f32>, Vec<f32>) {
        (rows.iter().flat_map(|&row| self.x[row]).collect(), rows.iter().map(|&row| self.y[row]).collect())
    }

    /// The gradient of a sample's squared error.
    pub(crate) fn gradient_of(&self, w: [f64; 2], row: usize) -> (f64, f64) {
        let [a, b] = self.x[row].map(f64::from);
        let error = w[0] * a + w[1] * b - f64::from(self.y[row]);
        (2.0 * error * a, 2.0 * error * b)
    }

    /// The gradient of the mean squared error of these samples.
    pub(crate) fn gradient(&self, w: [f64; 2], rows: &[usize]) -> [f64; 2] {
        let sums =
            rows.iter().map(|&row| self.gradient_of(w, row)).fold((0.0, 0.0), |a, b| (a.0 + b.0, a.1 + b.1));
        [sums.0, sums.1].map(|sum| sum / rows.len() as f64)
    }
}
