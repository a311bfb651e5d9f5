//! Values and gradients in f64.

use std::f64::consts::{E, TAU};

use super::TestFunction;

/// The pits of the multimodal function, as its WGSL has them; the deepest last.
pub(super) const CENTRES: [[f64; 2]; 5] = [[-2.0, -2.0], [2.0, 2.0], [-2.0, 2.0], [2.0, -2.0], [0.0, 0.0]];

/// The greatest value of `x sin sqrt(x)` within Schwefel's box, so that the least value of his function is 0.
pub(super) const SCHWEFEL: f64 = 418.982_887_272_433_8;

pub(super) fn value(function: TestFunction, x: &[f64]) -> f64 {
    let n = len(x);
    let sum = |term: &dyn Fn(f64) -> f64| x.iter().map(|&x| term(x)).sum::<f64>();
    match function {
        TestFunction::Sphere => sum(&|x| x * x),
        TestFunction::Rosenbrock => x
            .windows(2)
            .map(|pair| 100.0 * (pair[1] - pair[0] * pair[0]).powi(2) + (1.0 - pair[0]).powi(2))
            .sum(),
        TestFunction::Rastrigin => 10.0 * n + sum(&|x| x * x - 10.0 * (TAU * x).cos()),
        TestFunction::Ackley => {
            let (far, near) = ackley(x);
            20.0 + E - 20.0 * far - near
        }
        TestFunction::Eggholder => {
            let Eggholder { height, tilted, across, .. } = Eggholder::at(x);
            -height * wave(tilted) - x[0] * wave(across)
        }
        TestFunction::Griewank => 1.0 + sum(&|x| x * x) / 4000.0 - griewank(x).product::<f64>(),
        TestFunction::Schwefel => SCHWEFEL * n - sum(&|x| x * wave(x)),
        TestFunction::Himmelblau => {
            let (a, b) = himmelblau(x);
            a * a + b * b
        }
        TestFunction::Multimodal => -CENTRES.iter().map(|centre| pit(x, centre)).sum::<f64>(),
    }
}

pub(super) fn gradient(function: TestFunction, x: &[f64]) -> Vec<f64> {
    let n = len(x);
    let each = |slope: &dyn Fn(f64) -> f64| x.iter().map(|&x| slope(x)).collect();
    match function {
        TestFunction::Sphere => each(&|x| 2.0 * x),
        TestFunction::Rosenbrock => rosenbrock_gradient(x),
        TestFunction::Rastrigin => each(&|x| 2.0 * x + 10.0 * TAU * (TAU * x).sin()),
        TestFunction::Ackley => {
            let (far, near) = ackley(x);
            let radius = root_mean_square(x);
            let funnel = if radius > 0.0 { 4.0 * far / (n * radius) } else { 0.0 };
            each(&|x| funnel * x + TAU / n * (TAU * x).sin() * near)
        }
        TestFunction::Eggholder => {
            let Eggholder { height, tilted, across } = Eggholder::at(x);
            let (along, over) = (height * wave_slope(tilted), x[0] * wave_slope(across));
            vec![-0.5 * along - wave(across) - over, -wave(tilted) - along + over]
        }
        TestFunction::Griewank => griewank_gradient(x),
        TestFunction::Schwefel => each(&|x| {
            let root = x.abs().sqrt();
            -root.sin() - 0.5 * root * root.cos()
        }),
        TestFunction::Himmelblau => {
            let (a, b) = himmelblau(x);
            vec![4.0 * x[0] * a + 2.0 * b, 2.0 * a + 4.0 * x[1] * b]
        }
        TestFunction::Multimodal => (0..x.len())
            .map(|i| CENTRES.iter().map(|centre| 6.0 * (x[i] - centre[i]) * pit(x, centre)).sum())
            .collect(),
    }
}

fn len(x: &[f64]) -> f64 {
    x.len() as f64
}

fn rosenbrock_gradient(x: &[f64]) -> Vec<f64> {
    let mut gradient = vec![0.0; x.len()];
    for (i, pair) in x.windows(2).enumerate() {
        let off = pair[1] - pair[0] * pair[0];
        gradient[i] += -400.0 * pair[0] * off - 2.0 * (1.0 - pair[0]);
        gradient[i + 1] += 200.0 * off;
    }
    gradient
}

fn root_mean_square(x: &[f64]) -> f64 {
    (x.iter().map(|x| x * x).sum::<f64>() / len(x)).sqrt()
}

/// The two exponentials of Ackley's function.
fn ackley(x: &[f64]) -> (f64, f64) {
    let cosines = x.iter().map(|x| (TAU * x).cos()).sum::<f64>() / len(x);
    ((-0.2 * root_mean_square(x)).exp(), cosines.exp())
}

struct Eggholder {
    height: f64,
    tilted: f64,
    across: f64,
}

impl Eggholder {
    fn at(x: &[f64]) -> Self {
        let height = x[1] + 47.0;
        Self { height, tilted: x[0] / 2.0 + height, across: x[0] - height }
    }
}

/// `sin sqrt|u|`.
fn wave(u: f64) -> f64 {
    u.abs().sqrt().sin()
}

/// The derivative of [`wave`], which has none at 0.
fn wave_slope(u: f64) -> f64 {
    let root = u.abs().sqrt();
    if root > 0.0 { root.cos() * u.signum() / (2.0 * root) } else { 0.0 }
}

/// The cosines of Griewank's product.
fn griewank(x: &[f64]) -> impl Iterator<Item = f64> {
    x.iter().enumerate().map(|(i, x)| (x / root_of(i)).cos())
}

fn root_of(i: usize) -> f64 {
    ((i + 1) as f64).sqrt()
}

fn griewank_gradient(x: &[f64]) -> Vec<f64> {
    let cosines: Vec<f64> = griewank(x).collect();
    // Products of what comes before and after, since a cosine may be 0.
    let mut after = vec![1.0; x.len() + 1];
    for i in (0..x.len()).rev() {
        after[i] = after[i + 1] * cosines[i];
    }
    let mut before = 1.0;
    let mut gradient = Vec::with_capacity(x.len());
    for (i, &x) in x.iter().enumerate() {
        let others = before * after[i + 1];
        gradient.push(x / 2000.0 + (x / root_of(i)).sin() / root_of(i) * others);
        before *= cosines[i];
    }
    gradient
}

fn himmelblau(x: &[f64]) -> (f64, f64) {
    (x[0] * x[0] + x[1] - 11.0, x[0] + x[1] * x[1] - 7.0)
}

fn pit(x: &[f64], centre: &[f64; 2]) -> f64 {
    (-3.0 * ((x[0] - centre[0]).powi(2) + (x[1] - centre[1]).powi(2))).exp()
}

#[cfg(test)]
mod tests;
