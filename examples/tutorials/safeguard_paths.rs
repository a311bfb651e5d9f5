//! Gradient descent along a ridge, with clipping, with noise and with both.

use anyhow::{Result, ensure};
use gradus::grad::{ClipGradNorm, Noise, Transforms};
use plotters::prelude::*;
use serde_json::json;

use crate::contour::{self, Grid};
use crate::descent::descend;
use crate::paths::{self, Path};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage};

const STEPS: usize = 400;
const RATE: f64 = 0.01;
const START: [f64; 2] = [-3.0, 0.0];

/// Where x is below 0 it is a ridge along y = 0, steeper the farther from it.
fn value(x: f64, y: f64) -> f64 {
    0.01 * x * x + 100.0 * y * y * (0.1 * x).sin() * (0.1 * y).cos()
}

fn slope([x, y]: [f64; 2]) -> [f64; 2] {
    let (sin_x, cos_x, sin_y, cos_y) = ((0.1 * x).sin(), (0.1 * x).cos(), (0.1 * y).sin(), (0.1 * y).cos());
    [0.02 * x + 10.0 * y * y * cos_x * cos_y, 200.0 * y * sin_x * cos_y - 10.0 * y * y * sin_x * sin_y]
}

/// The longest step of a way, and how far it ends from the ridge.
fn figures(points: &[(f64, f64)]) -> (f64, f64) {
    let lengths = points.windows(2).map(|two| (two[1].0 - two[0].0).hypot(two[1].1 - two[0].1));
    (lengths.fold(0.0, f64::max), points.last().map_or(f64::NAN, |end| end.1.abs()))
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let clip = || Some(ClipGradNorm::new(1.0));
    let noise = || Some(Noise { eta: 1e-3, seed: 4, ..Noise::default() });
    let runs = [
        ("Gradient descent", Transforms::default()),
        ("Clipped to a norm of 1", Transforms { clip_grad_norm: clip(), ..Transforms::default() }),
        ("With noise", Transforms { noise: noise(), ..Transforms::default() }),
        (
            "Clipped, and with noise",
            Transforms { clip_grad_norm: clip(), noise: noise(), ..Transforms::default() },
        ),
    ];
    let mut all = Vec::new();
    for (name, transforms) in runs {
        let sgd = json!({"name": "SGD", "lr": RATE});
        let points = descend(&stage.gpu, &sgd, transforms, START, STEPS, &slope)?;
        let (longest, away) = figures(&points);
        all.push((name, longest, away, points));
    }
    let of = |at: usize| (all[at].1, all[at].2);
    ensure!(of(0).1 == 0.0 && of(1).1 == 0.0, "the ridge was left without noise: {:?} {:?}", of(0), of(1));
    ensure!(of(2).0 > 1.0, "the longest step with noise is {}", of(2).0);
    ensure!(of(3).0 < 1.02 * RATE && of(3).1 > 1.0, "clipped, with noise: {:?}", of(3));
    let grid = Grid::new(100, ((-5.0, 5.0), (-5.0, 5.0)), value);
    let grey = |shade| RGBColor(shade, shade, shade);
    let levels: Vec<(f64, RGBColor)> =
        [(-800.0, 150), (-400.0, 160), (-150.0, 170), (-40.0, 180), (-5.0, 190), (0.0, 120)]
            .into_iter()
            .chain([(5.0, 200), (40.0, 205), (150.0, 210), (400.0, 215), (800.0, 220)])
            .map(|(level, shade)| (level, grey(shade)))
            .collect();
    let lines = [
        "f = 0.01 x² + 100 y² sin 0.1x cos 0.1y: at the left a ridge along y = 0. Ring: the start, on the ridge. Disc: the end.",
        "Darker level lines are lower.",
    ];
    let title = "Noise leaves a ridge that gradient descent stays on; clipping keeps the steps short";
    let svg = sheet((880, 780), title, &lines, |body| {
        for (area, (name, longest, _, points)) in cells(body, 2, 2, 14)?.iter().zip(&all) {
            let (x, y) = (Scale::linear(-5.0..5.0, ""), Scale::linear(-5.0..5.0, ""));
            let mut plot = panel(area, &format!("{name}: steps of up to {longest:.3}"), (&x, &y), 8)?;
            contour::draw(&mut plot, &grid, &levels)?;
            let way = Path { name: (*name).to_owned(), color: COLORS[0], points: points.clone() };
            paths::draw(&mut plot, &[way])?;
        }
        Ok(())
    })?;
    let shows = format!(
        "From a point on a ridge gradient descent, clipped or not, stays on it for all {STEPS} steps. Noise of 0.001 leaves it: \
         then the longest step is {:.1} without clipping and {:.4} with it.",
        of(2).0,
        of(3).0
    );
    Ok(Picture { svg, shows })
}
