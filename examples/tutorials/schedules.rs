//! A constant rate and three schedules on one problem.

use anyhow::{Result, ensure};
use gradus::schedule::{CosineAnnealingLR, ExponentialLR, Schedule, StepLR};
use serde_json::json;

use crate::curves;
use crate::descent::numbered;
use crate::learn::{Run, learn, samples, smoothed};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage};

const RATE: f64 = 0.5;
const STEPS: usize = 600;
/// Steps over which the loss is averaged.
const OVER: usize = 50;

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let all = STEPS as u64;
    let sets = samples()?;
    let schedules: [(&str, Option<Box<dyn Schedule>>); 4] = [
        ("constant", None),
        ("step", Some(Box::new(StepLR { gamma: 0.3, ..StepLR::new(all / 4) }))),
        ("exponential", Some(Box::new(ExponentialLR::new(0.02_f64.powf(1.0 / STEPS as f64))))),
        ("cosine", Some(Box::new(CosineAnnealingLR::new(all)))),
    ];
    let (mut rates, mut losses, mut tests) = (Vec::new(), Vec::new(), Vec::new());
    for ((name, schedule), color) in schedules.into_iter().zip(COLORS) {
        let run =
            Run { schedule, batch: 8, noise: 0.03, ..Run::new(json!({"name": "SGD", "lr": RATE}), STEPS) };
        let learnt = learn(&stage.gpu, run, &sets)?;
        // The rate of each step, as the optimizer had it.
        ensure!((learnt.rates[0] - RATE).abs() < 1e-9 && learnt.rates.len() == STEPS, "{:?}", learnt.rates);
        rates.push(numbered(name, color, learnt.rates));
        losses.push(numbered(name, color, smoothed(&learnt.losses, OVER)));
        tests.push((name, learnt.test.loss));
    }
    for (name, loss) in &tests[1..] {
        ensure!(*loss < 0.8 * tests[0].1, "{name} ends at {loss}, a constant rate at {}", tests[0].1);
    }
    let line = format!(
        "Digits, 64-64-10, SGD from a rate of {RATE}, batches of 8 and noise on gradients. The rate is that of each step."
    );
    let title = "A rate that falls leaves the noise behind";
    let svg = sheet((880, 400), title, &[&line], |body| {
        let areas = cells(body, 1, 2, 14)?;
        let x = Scale::linear(0.0..STEPS as f64, "step");
        let mut plot = panel(&areas[0], "Learning rate", (&x, &Scale::linear(-0.05..0.55, "rate")), 84)?;
        curves::draw(&areas[0], &mut plot, &rates)?;
        let words = format!("loss, mean of {OVER} steps");
        let mut plot = panel(&areas[1], "Training", (&x, &Scale::log(0.02..3.0, &words)), 84)?;
        curves::draw(&areas[1], &mut plot, &losses)
    })?;
    let said: Vec<String> = tests.iter().map(|(name, loss)| format!("{name} {loss:.3}")).collect();
    let shows = format!("The loss on unseen digits after {STEPS} steps: {}.", said.join(", "));
    Ok(Picture { svg, shows })
}
