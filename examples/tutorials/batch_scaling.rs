//! Batches from 32 to 1,024 for the same number of samples, with the same rate and with one that grows.

use anyhow::{Result, ensure};
use serde_json::json;

use crate::curves::{self, Curve};
use crate::learn::{Run, learn, samples};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage};

const EPOCHS: usize = 10;
const BATCHES: [usize; 6] = [32, 64, 128, 256, 512, 1024];
/// The name, the rule, the rate for batches of 32, and the power of the batch that it grows with.
const RULES: [(&str, &str, f64, f64); 4] = [
    ("SGD", "SGD", 0.05, 1.0),
    ("Adam", "Adam", 3e-3, 0.5),
    ("Lion", "Lion", 6e-4, 0.5),
    ("LAMB", "Lamb", 1e-2, 0.5),
];

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let sets = samples()?;
    let batches: Vec<usize> =
        if stage.quick { BATCHES.into_iter().step_by(5).collect() } else { BATCHES.to_vec() };
    // With the same rate, and with one that grows: of each rule, the loss of each batch.
    let mut curves = [Vec::new(), Vec::new()];
    for ((name, rule, rate, power), color) in RULES.into_iter().zip(COLORS) {
        for (scaled, curves) in [false, true].into_iter().zip(&mut curves) {
            let mut losses = Vec::new();
            for &batch in &batches {
                let factor = if scaled { (batch as f64 / 32.0).powf(power) } else { 1.0 };
                let momentum = if rule == "SGD" { json!({"momentum": 0.9}) } else { json!({}) };
                let mut options = json!({"name": rule, "lr": rate * factor});
                options.as_object_mut().into_iter().zip(momentum.as_object()).for_each(|(options, more)| {
                    options.extend(more.clone());
                });
                let steps = EPOCHS * sets[0].labels.len() / batch;
                let run = Run { batch, ..Run::new(options, steps) };
                losses.push(learn(&stage.gpu, run, &sets)?.test.loss);
            }
            let x = batches.iter().map(|&batch| batch as f64).collect();
            curves.push(Curve { name: name.to_owned(), color, x, y: losses, band: Vec::new() });
        }
    }
    let [same, grown] = &curves;
    let ends = |curve: &Curve| (curve.y[0], curve.end());
    for (same, grown) in same.iter().zip(grown) {
        let ((first, last), (_, scaled)) = (ends(same), ends(grown));
        ensure!(last > 1.5 * first, "{}: batches of 1024 are no worse at the same rate", same.name);
        ensure!(scaled < 0.9 * last, "{}: a larger rate does not help", same.name);
    }
    let line = format!("Digits, 64-64-10, {EPOCHS} epochs, so that batches of 1,024 take 1/32 of the steps.");
    let title = "Large batches need larger rates";
    let svg = sheet((880, 420), title, &[&line], |body| {
        let headings =
            ["The rate for batches of 32", "A rate that grows: SGD with the batch, others with its root"];
        for ((area, heading), curves) in cells(body, 1, 2, 14)?.iter().zip(headings).zip(&curves) {
            let (x, y) =
                (Scale::log(28.0..1100.0, "batch size"), Scale::log(0.08..3.0, "loss on unseen digits"));
            let mut plot = panel(area, heading, (&x, &y), 56)?;
            curves::draw(area, &mut plot, curves)?;
        }
        Ok(())
    })?;
    let said: Vec<String> = same
        .iter()
        .zip(grown)
        .map(|(same, grown)| {
            format!("{} {:.2} → {:.2} and {:.2}", same.name, same.y[0], same.end(), grown.end())
        })
        .collect();
    let shows = format!(
        "The loss on unseen digits after {EPOCHS} epochs, from batches of 32 to batches of 1,024 at the same rate and at a \
         larger one: {}.",
        said.join(", ")
    );
    Ok(Picture { svg, shows })
}
