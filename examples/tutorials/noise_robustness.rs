//! Optimizers with noise on every gradient.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::curves::{self, Curve};
use crate::learn::{Run, learn, samples};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage};

const NOISES: [f64; 6] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3];

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let steps = if stage.quick { 100 } else { 200 };
    let noises: Vec<f64> =
        if stage.quick { NOISES.into_iter().step_by(5).collect() } else { NOISES.to_vec() };
    let sets = samples()?;
    let rules = [
        ("SGD", json!({"name": "SGD", "lr": 0.3})),
        ("momentum", json!({"name": "SGD", "lr": 0.03, "momentum": 0.9})),
        ("Adam", json!({"name": "Adam", "lr": 3e-3})),
        ("RAdam", json!({"name": "RAdam", "lr": 1e-2})),
        ("Lookahead", json!({"name": "Lookahead", "inner": {"name": "Adam", "lr": 3e-3}})),
        ("Lion", json!({"name": "Lion", "lr": 6e-4})),
        ("Rprop", json!({"name": "Rprop", "lr": 1e-3})),
    ];
    let mut curves = Vec::new();
    for ((name, rule), color) in rules.into_iter().zip(COLORS) {
        let accuracy = |noise: f64| -> Result<f64> {
            let run = Run { noise, ..Run::new(rule.clone(), steps) };
            Ok(learn(&stage.gpu, run, &sets)?.test.metrics[0])
        };
        let accuracies: Result<Vec<f64>> = noises.iter().map(|&noise| accuracy(noise)).collect();
        let y = accuracies?;
        curves.push(Curve { name: name.to_owned(), color, x: noises.clone(), y, band: Vec::new() });
    }
    let line =
        "Digits, 64-64-10. Noise: a normal value of this deviation added to each gradient at each step.";
    let svg = sheet(
        (880, 440),
        "Momentum averages noise on gradients; Adam and Lion take it for signal",
        &[line],
        |body| {
            let area = &cells(body, 1, 1, 0)?[0];
            let x = Scale::log(0.001..0.3, "deviation of the noise");
            let y = Scale::linear(0.0..1.0, "accuracy on unseen digits");
            let mut plot = panel(area, &format!("After {steps} steps with batches of 32"), (&x, &y), 96)?;
            curves::draw(area, &mut plot, &curves)
        },
    )?;
    let ends = |name: &str| {
        let found = curves.iter().find(|curve| curve.name == name);
        found.map_or((f64::NAN, f64::NAN), |curve| (curve.y[0], curve.end()))
    };
    let least = if stage.quick { 0.7 } else { 0.85 };
    for Curve { name, y, .. } in &curves {
        ensure!(y[0] > least, "{name} reaches {} with hardly any noise", y[0]);
        ensure!(curves[1].end() >= y[y.len() - 1], "{name} bears more than momentum");
    }
    let [momentum, adam, rprop] = ["momentum", "Adam", "Rprop"].map(ends);
    ensure!(
        momentum.1 > 0.6 && adam.1 < 0.6 * momentum.1 && rprop.1 < 0.3,
        "{momentum:?} {adam:?} {rprop:?}"
    );
    let said: Vec<String> =
        curves.iter().map(|curve| format!("{} {:.2} → {:.2}", curve.name, curve.y[0], curve.end())).collect();
    let shows = format!(
        "Accuracy from hardly any noise to a deviation of 0.3: {}. Rules that divide by \
         the size of gradients or take their sign give noise the full step; momentum averages it.",
        said.join(", ")
    );
    Ok(Picture { svg, shows })
}
