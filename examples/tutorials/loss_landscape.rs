//! A convex function, one that is not, and the loss of the smallest network.

use anyhow::{Result, ensure};
use gradus::graph::Graph;
use gradus::nn::Linear;
use gradus::optim::SGD;
use plotters::prelude::*;

use crate::contour::{self, Grid};
use crate::paths::{self, Path};
use crate::sheet::{Area, COLORS, Scale, cells, panel, sheet, units};
use crate::{Picture, Stage};

const POINTS: usize = 100;
const STEPS: usize = 80;
/// Two beginnings on either side of the hill at (0, 0).
const STARTS: [[f32; 2]; 2] = [[-0.3, 1.2], [0.3, -1.2]];

fn inputs() -> Vec<f32> {
    (0..POINTS).map(|at| -2.0 + 4.0 * at as f32 / (POINTS - 1) as f32).collect()
}

/// The mean squared error of `w1 relu(w2 x)` to `sin x`.
fn loss_at(w1: f64, w2: f64) -> f64 {
    let error = |x: &f32| {
        let x = f64::from(*x);
        (w1 * (w2 * x).max(0.0) - x.sin()).powi(2)
    };
    inputs().iter().map(error).sum::<f64>() / POINTS as f64
}

/// The way of gradient descent through the two weights, on the device. Each loss is compared with the formula.
fn descend(stage: &Stage, [w1, w2]: [f32; 2]) -> Result<Vec<(f64, f64)>> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [POINTS, 1]), graph.input("y", [POINTS, 1]));
    let layer = || Linear::new(1).without_bias();
    let loss = x.linear(layer()).relu().linear(layer()).mse_loss(&y);
    let mut trainer = graph.trainer(&loss, SGD { lr: 0.1, ..SGD::default() }).build(&stage.gpu)?;
    trainer.params_mut().write("linear1.weight", &[w2])?;
    trainer.params_mut().write("linear2.weight", &[w1])?;
    let xs = inputs();
    let ys: Vec<f32> = xs.iter().map(|x| x.sin()).collect();
    let mut points = vec![(f64::from(w1), f64::from(w2))];
    for step in 0..STEPS {
        trainer.step(&[("x", &xs), ("y", &ys)])?;
        let (seen, (w1, w2)) = (f64::from(trainer.read_loss()?), points[step]);
        ensure!((seen - loss_at(w1, w2)).abs() < 1e-4, "the loss at ({w1}, {w2}) is {seen}");
        let [w1, w2] = ["linear2.weight", "linear1.weight"].map(|name| trainer.params().read(name));
        points.push((f64::from(w1?[0]), f64::from(w2?[0])));
    }
    Ok(points)
}

/// A function with the chord between two of its points. Returns how far the function is above the chord at most.
fn chord(area: &Area<'_>, heading: &str, top: f64, function: fn(f64) -> f64) -> Result<f64> {
    let (from, to) = (-3.0, 3.0);
    let (x, y) = (Scale::linear(-4.0..4.0, "x"), Scale::linear(-1.5..top, "f(x)"));
    let mut plot = panel(area, heading, (&x, &y), 8)?;
    let all = (-400..=400).map(|at| f64::from(at) / 100.0).map(|x| (x, function(x))).filter(|at| at.1 <= top);
    plot.draw_series(LineSeries::new(all, COLORS[0].stroke_width(units(2))))?;
    let ends = [(from, function(from)), (to, function(to))];
    plot.draw_series(LineSeries::new(ends, COLORS[1].stroke_width(units(2))))?;
    plot.draw_series(ends.map(|end| Circle::new(end, 40, COLORS[1].filled())))?;
    let above = (1..100).map(|part| f64::from(part) / 100.0).map(|part| {
        function(from + part * (to - from)) - (function(from) + part * (function(to) - function(from)))
    });
    Ok(above.fold(f64::NEG_INFINITY, f64::max))
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let mut ways = Vec::new();
    for (start, color) in STARTS.into_iter().zip(COLORS) {
        ways.push(Path { name: String::new(), color, points: descend(stage, start)? });
    }
    let ends = [ways[0].end(), ways[1].end()];
    let [left, right] = ends.map(|(w1, w2)| loss_at(w1, w2));
    let middle = ((ends[0].0 + ends[1].0) / 2.0, (ends[0].1 + ends[1].1) / 2.0);
    let between = loss_at(middle.0, middle.1);
    ensure!(between > 1.1 * left.max(right), "{left} and {right} at the ends, {between} between them");
    let mut above = [0.0; 2];
    let grid = Grid::new(100, ((-1.5, 1.5), (-1.5, 1.5)), loss_at);
    let levels: Vec<(f64, RGBColor)> = (0..9_u8)
        .map(|number| {
            (
                0.315 + 0.02 * 1.8_f64.powi(number.into()),
                RGBColor(150 + 9 * number, 150 + 9 * number, 150 + 9 * number),
            )
        })
        .collect();
    let lines = [
        "Orange: a chord. Right: mean squared error of w₁ relu(w₂ x) to sin x, and the ways of gradient descent from two rings.",
    ];
    let title = "A chord lies above a convex function; a network's loss has hills between its minima";
    let svg = sheet((880, 380), title, &lines, |body| {
        let areas = cells(body, 1, 3, 12)?;
        above[0] = chord(&areas[0], "x²: convex", 10.0, |x| x * x)?;
        above[1] = chord(&areas[1], "sin 2x + 0.1 x²: not convex", 3.0, |x| (2.0 * x).sin() + 0.1 * x * x)?;
        let (x, y) = (Scale::linear(-1.5..1.5, "w₁"), Scale::linear(-1.5..1.5, "w₂"));
        let mut plot = panel(&areas[2], "Loss of a network of two weights", (&x, &y), 8)?;
        contour::draw(&mut plot, &grid, &levels)?;
        paths::draw(&mut plot, &ways)
    })?;
    ensure!(above[0] < 0.0 && above[1] > 0.4, "above the chords: {above:?}");
    let shows = format!(
        "x² stays below its chord, sin 2x + 0.1 x² rises {:.2} above it. Two descents of the same network end at losses of {left:.3} \
         and {right:.3}, and halfway between them the loss is {between:.3}.",
        above[1]
    );
    Ok(Picture { svg, shows })
}
