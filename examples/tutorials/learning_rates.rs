//! Gradient descent on `x^2` with rates that are too small, right and too large.

use anyhow::{Result, ensure};
use gradus::grad::Transforms;
use plotters::prelude::*;
use serde_json::json;

use crate::curves;
use crate::descent::{descend, numbered};
use crate::paths::{self, Path};
use crate::sheet::{COLORS, Scale, cells, panel, sheet, units};
use crate::{Picture, Stage};

const RATES: [f64; 4] = [0.1, 0.4, 0.95, 1.05];
const START: f64 = 1.8;
/// Steps of which the left panel shows the first.
const STEPS: usize = 12;
const SHOWN: usize = 10;

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let mut runs = Vec::new();
    for (rate, color) in RATES.into_iter().zip(COLORS) {
        let sgd = json!({"name": "SGD", "lr": rate});
        let points =
            descend(&stage.gpu, &sgd, Transforms::default(), [START, 0.0], STEPS, &|[x, _]| [2.0 * x, 0.0])?;
        let x: Vec<f64> = points.into_iter().map(|(x, _)| x).collect();
        // Each step multiplies x by 1 - 2 rate.
        let factor = (1.0 - 2.0 * rate).abs();
        for two in x.windows(2) {
            let ratio = (two[1] / two[0]).abs();
            ensure!((ratio - factor).abs() < 1e-5, "a step with rate {rate} multiplied by {ratio}");
        }
        runs.push((rate, color, x));
    }
    let shown = |x: &[f64]| x[..=SHOWN].iter().map(|x| (*x, x * x)).collect();
    let ways: Vec<Path> = runs
        .iter()
        .map(|(rate, color, x)| Path { name: rate.to_string(), color: *color, points: shown(x) })
        .collect();
    let distances: Vec<_> = runs
        .iter()
        .map(|(rate, color, x)| numbered(format!("rate {rate}"), *color, x.iter().map(|x| x.abs()).collect()))
        .collect();
    let lines = ["Each step multiplies x by 1 − 2 rate. Ring: the start. Discs: after 10 steps."];
    let title = "Gradient descent on x²: a rate can be too small and too large";
    let svg = sheet((880, 400), title, &lines, |body| {
        let areas = cells(body, 1, 2, 14)?;
        let (x, y) = (Scale::linear(-3.0..3.0, "x"), Scale::linear(-0.4..6.0, "x²"));
        let mut plot = panel(&areas[0], "The first 10 steps", (&x, &y), 8)?;
        let parabola = (-245..=245).map(|at| f64::from(at) / 100.0).map(|x| (x, x * x));
        plot.draw_series(LineSeries::new(parabola, RGBColor(150, 150, 150).stroke_width(units(1))))?;
        paths::draw(&mut plot, &ways)?;
        let (x, y) = (Scale::linear(0.0..STEPS as f64, "step"), Scale::log(1e-9..1e2, "|x|"));
        let mut plot = panel(&areas[1], "The distance to the minimum", (&x, &y), 72)?;
        curves::draw(&areas[1], &mut plot, &distances)
    })?;
    let end = |at: usize| runs[at].2[STEPS].abs();
    ensure!(end(1) < 1e-3 * end(0) && end(3) > 2.0 * START && end(2) < START, "other rates are best");
    let shows = format!(
        "From {START}, {STEPS} steps end at {:.1e} from the minimum with a rate of {}, at {:.1e} with {}, at {:.1e} with {}, \
         which jumps over it each time, and at {:.1} with {}, which diverges.",
        end(0),
        RATES[0],
        end(1),
        RATES[1],
        end(2),
        RATES[2],
        end(3),
        RATES[3]
    );
    Ok(Picture { svg, shows })
}
