//! Gradient descent by single samples, by batches and by all data: the way of two weights.

use std::cell::RefCell;

use anyhow::{Result, ensure};
use gradus::grad::Transforms;
use plotters::prelude::RGBColor;
use rand::seq::SliceRandom;
use rand_pcg::Pcg32;
use serde_json::json;

use crate::curves::{self, Curve};
use crate::descent::descend;
use crate::line_data::{LineData, SAMPLES};
use crate::paths::{self, Path};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage, key};

const EPOCHS: usize = 3;
const RATE: f64 = 0.02;
const BATCHES: [(&str, usize); 3] = [("single samples", 1), ("batches of 32", 32), ("all data", SAMPLES)];

/// The weights after each step.
fn way(stage: &Stage, data: &LineData, batch: usize) -> Result<Vec<(f64, f64)>> {
    let rest: RefCell<(Pcg32, Vec<usize>)> = RefCell::new((Pcg32::new(1, 0), Vec::new()));
    let slope = |at: [f64; 2]| {
        let mut rest = rest.borrow_mut();
        let (random, order) = &mut *rest;
        if order.len() < batch {
            *order = (0..SAMPLES).collect();
            order.shuffle(random);
        }
        let rows = order.split_off(order.len() - batch);
        data.gradient(at, &rows)
    };
    let sgd = json!({"name": "SGD", "lr": RATE});
    descend(&stage.gpu, &sgd, Transforms::default(), [0.0, 0.0], EPOCHS * SAMPLES / batch, &slope)
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let data = LineData::new();
    let (mut ways, mut curves) = (Vec::new(), Vec::new());
    for ((name, batch), color) in BATCHES.into_iter().zip(COLORS) {
        let points = way(stage, &data, batch)?;
        let distance = |(x, y): &(f64, f64)| (x - 3.0).hypot(y - 2.0);
        let x = (0..points.len()).map(|step| (step * batch) as f64 / SAMPLES as f64).collect();
        let y = points.iter().map(distance).collect();
        curves.push(Curve { name: name.to_owned(), color, x, y, band: Vec::new() });
        ways.push(Path { name: name.to_owned(), color, points });
    }
    let [single, batches, whole] = [0, 1, 2].map(|at| curves[at].end());
    ensure!(batches < 0.2 && whole > 10.0 * batches.max(single), "{single} {batches} {whole}");
    let line = format!(
        "y = 3 x₁ + 2 x₂ with noise, 1,000 points, {EPOCHS} epochs of SGD with a rate of {RATE} from (0, 0)."
    );
    let title = "In the same epochs small batches take more steps, each with more noise";
    let svg = sheet((880, 420), title, &[&line, "Cross: the weights that made the data."], |body| {
        let areas = cells(body, 1, 2, 14)?;
        let (x, y) = (Scale::linear(-0.2..3.6, "w₁"), Scale::linear(-0.2..2.6, "w₂"));
        let mut plot = panel(&areas[0], "The way of the weights", (&x, &y), 8)?;
        paths::draw(&mut plot, &ways)?;
        paths::cross(&mut plot, (3.0, 2.0))?;
        let names: Vec<(&str, RGBColor)> = ways.iter().map(|way| (way.name.as_str(), way.color)).collect();
        key::row(&areas[0], (44, 29), &names)?;
        let x = Scale::linear(0.0..EPOCHS as f64, "epoch");
        let y = Scale::log(1e-3..10.0, "distance to the true weights");
        let mut plot = panel(&areas[1], "Convergence", (&x, &y), 104)?;
        curves::draw(&areas[1], &mut plot, &curves)
    })?;
    let shows = format!(
        "After {EPOCHS} epochs the weights are {single:.4} from the true ones with single samples, {batches:.4} with batches of \
         32 and {whole:.2} with all data at once, which took {EPOCHS} steps."
    );
    Ok(Picture { svg, shows })
}
