//! Gradients of batches of several sizes, around that of all data.

use std::ops::Range;

use anyhow::{Result, ensure};
use gradus::Gpu;
use gradus::gpu::Recorder;
use gradus::graph::{Graph, PlanOptions, Workspace};
use gradus::nn::Linear;
use plotters::prelude::*;
use rand::RngExt;
use rand_pcg::Pcg32;

use crate::line_data::{LineData, SAMPLES};
use crate::paths::cross;
use crate::sheet::{COLORS, Scale, UNITS, cells, panel, sheet};
use crate::{Picture, Stage};

const BATCHES: [usize; 4] = [1, 8, 32, 128];
const ESTIMATES: usize = 300;
const AT: [f32; 2] = [2.5, 1.5];

/// The gradients of batches of so many samples, drawn at random.
fn estimates(
    gpu: &Gpu,
    data: &LineData,
    batch: usize,
    mut rows: impl FnMut() -> Vec<usize>,
) -> Result<Vec<(f64, f64)>> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [batch, 2]), graph.input("y", [batch, 1]));
    let loss = x.linear(Linear::new(1).without_bias()).mse_loss(&y);
    let (mut params, mut workspace) = (graph.store(gpu, 0)?, Workspace::new());
    let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut workspace)?;
    params.write("linear1.weight", &AT)?;
    let count = if batch == SAMPLES { 1 } else { ESTIMATES };
    let mut gradients = Vec::new();
    for _ in 0..count {
        let rows = rows();
        let (x, y) = data.rows(&rows);
        plan.write("x", &x)?;
        plan.write("y", &y)?;
        let mut encoder = gpu.encoder("gradient");
        plan.record(&mut Recorder::new(gpu, &mut encoder))?;
        gpu.submit(encoder)?;
        let gradient = params.read_grad("linear1.weight")?;
        gradients.push((f64::from(gradient[0]), f64::from(gradient[1])));
    }
    Ok(gradients)
}

/// The root of the mean square distance to a point.
fn spread(points: &[(f64, f64)], (x, y): (f64, f64)) -> f64 {
    let squares: f64 = points.iter().map(|at| (at.0 - x).powi(2) + (at.1 - y).powi(2)).sum();
    (squares / points.len() as f64).sqrt()
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let data = LineData::new();
    let whole = estimates(&stage.gpu, &data, SAMPLES, || (0..SAMPLES).collect())?[0];
    // The spread of single samples, in closed form: 2 x (w x - y).
    let each: Vec<(f64, f64)> = (0..SAMPLES).map(|row| data.gradient_of(AT.map(f64::from), row)).collect();
    let single = spread(&each, whole);
    let mut random = Pcg32::new(3, 0);
    let mut all = Vec::new();
    for batch in BATCHES {
        let rows = || (0..batch).map(|_| random.random_range(0..SAMPLES)).collect();
        let gradients = estimates(&stage.gpu, &data, batch, rows)?;
        let (measured, expected) = (spread(&gradients, whole), single / (batch as f64).sqrt());
        let ratio = measured / expected;
        ensure!((0.75..1.3).contains(&ratio), "batches of {batch} spread by {measured}, expected {expected}");
        all.push((batch, measured, gradients));
    }
    let line = format!(
        "The gradient of the squared error of a plane through 1,000 points, from {ESTIMATES} random batches of each size. Cross: of \
         all."
    );
    let title = "Four times the batch halves the noise of a gradient";
    let svg = sheet((880, 320), title, &[&line], |body| {
        let ends: Range<f64> = -6.0..3.0;
        for (area, (batch, spread, gradients)) in cells(body, 1, 4, 8)?.iter().zip(&all) {
            let (x, y) = (Scale::linear(ends.clone(), "∂L/∂w₁"), Scale::linear(ends.clone(), "∂L/∂w₂"));
            let mut plot = panel(area, &format!("Batch {batch}: spread {spread:.2}"), (&x, &y), 6)?;
            let inside = gradients.iter().filter(|at| ends.contains(&at.0) && ends.contains(&at.1));
            let blue = COLORS[0].mix(0.45);
            plot.draw_series(inside.map(|at| Circle::new(*at, 5 * UNITS / 2, blue.filled())))?;
            cross(&mut plot, whole)?;
        }
        Ok(())
    })?;
    let said: Vec<String> =
        all.iter().map(|(batch, spread, _)| format!("{spread:.3} with {batch}")).collect();
    let shows = format!(
        "Around the gradient of all data, ({:.2}, {:.2}), those of batches spread by {}: as one over the root of the batch.",
        whole.0,
        whole.1,
        said.join(", ")
    );
    Ok(Picture { svg, shows })
}
