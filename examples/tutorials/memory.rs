//! One network with several optimizers: what their state takes, and how they learn.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::bars::{self, Bar, Row};
use crate::curves;
use crate::descent::numbered;
use crate::learn::{Run, learn, samples, smoothed};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage};

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let steps = if stage.quick { 60 } else { 200 };
    let sets = samples()?;
    let rules = [
        ("Adam", json!({"name": "Adam", "lr": 1e-3})),
        ("Lion", json!({"name": "Lion", "lr": 6e-4})),
        ("Adam, 8 bits", json!({"name": "Adam", "lr": 1e-3, "state": "8bit"})),
        ("SM3", json!({"name": "SM3", "lr": 0.03, "momentum": 0})),
        ("Adafactor", json!({"name": "Adafactor", "lr": 0.02})),
    ];
    let run = |rule| Run { hidden: &[256, 256], ..Run::new(rule, steps) };
    // Without momentum SGD keeps nothing, so that the others' memory beyond its is their state.
    let plain = learn(&stage.gpu, run(json!({"name": "SGD"})), &sets)?;
    let (mut bars, mut curves) = (Vec::new(), Vec::new());
    let mut figures = Vec::new();
    for ((name, rule), color) in rules.into_iter().zip(COLORS) {
        let learnt = learn(&stage.gpu, run(rule), &sets)?;
        let each = (learnt.bytes as f64 - plain.bytes as f64).max(0.0) / learnt.parameters as f64;
        figures.push((name, each, learnt.test.metrics[0]));
        let bar = Bar { color: color.into(), value: each, band: (each, each), label: format!("{each:.2}") };
        bars.push(Row { name: name.to_owned(), bars: vec![bar] });
        curves.push(numbered(name, color, smoothed(&learnt.losses, 10)));
    }
    let line = format!(
        "Digits, 64-256-256-10: {},{:03} parameters. State: device memory beyond that of SGD without momentum.",
        plain.parameters / 1000,
        plain.parameters % 1000
    );
    let svg = sheet((880, 400), "Optimizers that keep less learn no worse here", &[&line], |body| {
        let areas = cells(body, 1, 2, 14)?;
        let x = Scale::linear(0.0..8.5, "bytes a parameter");
        bars::draw(&areas[0], "Memory of the state", &x, &bars)?;
        let (x, y) =
            (Scale::linear(0.0..steps as f64, "step"), Scale::log(0.05..3.0, "loss, mean of 10 steps"));
        let mut plot = panel(&areas[1], "Training", (&x, &y), 96)?;
        curves::draw(&areas[1], &mut plot, &curves)
    })?;
    // In bytes: two moments, one, two in 8 bits, and rows and columns.
    let expected = [8.0..8.4, 4.0..4.4, 2.0..2.4, 0.0..0.6, 0.0..0.6];
    for ((name, each, accuracy), expected) in figures.iter().zip(expected) {
        ensure!(expected.contains(each), "{name} keeps {each} bytes a parameter, expected {expected:?}");
        let least = if stage.quick { 0.6 } else { 0.9 };
        ensure!(*accuracy > least, "the accuracy with {name} is {accuracy}");
    }
    let said: Vec<String> = figures
        .iter()
        .map(|(name, each, accuracy)| format!("{name} {each:.2} ({:.1} %)", 100.0 * accuracy))
        .collect();
    let shows = format!(
        "Bytes of state a parameter, measured, and the accuracy on unseen digits after {steps} steps: {}.",
        said.join("; ")
    );
    Ok(Picture { svg, shows })
}
