//! A healthy run beside runs that are broken on purpose, with what the monitor says of each.

use anyhow::{Result, ensure};
use gradus::Error;
use gradus::graph::{Graph, Var};
use gradus::optim::{AnyRule, from_json};
use gradus::train::FitOptions;
use gradus::train::callbacks::{BatchEnd, Callback, Callbacks, Control, GradientMonitor, Problem};
use gradus::train::data::{DataLoader, Dataset};
use serde_json::{Value, json};

use crate::curves::{self, Curve};
use crate::descent::numbered;
use crate::learn::{samples, smoothed};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage};

const BATCH: usize = 32;
const EPOCHS: u64 = 4;

/// Keeps the loss of each step, and the norms of those that report them.
#[derive(Default)]
struct Recorder {
    losses: Vec<f64>,
    steps: Vec<f64>,
    gradients: Vec<f64>,
}

impl Callback for Recorder {
    fn name(&self) -> &str {
        "Recorder"
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, _: &mut Control) -> Result<(), Error> {
        self.losses.push(f64::from(batch.report.loss));
        if let Some(norms) = batch.norms {
            self.steps.push(norms.step as f64);
            self.gradients.push(norms.total.gradient);
        }
        Ok(())
    }
}

/// A run: its name, its rule, its hidden layers, and what is wrong with it.
type Case = (&'static str, Value, fn(Var) -> Var, Option<Problem>);

fn layers(x: Var) -> Var {
    x.linear(64).relu()
}

fn sigmoids(x: Var) -> Var {
    (0..20).fold(x, |x, _| x.linear(32).sigmoid())
}

fn cases() -> [Case; 5] {
    let adam = |lr: f64| json!({"name": "Adam", "lr": lr});
    let swings = json!({"name": "SGD", "lr": 4.0, "momentum": 0.98});
    [
        ("healthy", adam(3e-3), layers, None),
        ("rate × 200", adam(0.6), layers, Some(Problem::ExplodingGradients)),
        ("rate / 1000", adam(3e-6), layers, Some(Problem::Plateau)),
        ("20 sigmoids", adam(3e-3), sigmoids, Some(Problem::VanishingGradients)),
        ("momentum 0.98", swings, |x| x, Some(Problem::Oscillation)),
    ]
}

/// What was recorded, and what the monitor said first.
fn run(
    stage: &Stage,
    rule: &Value,
    hidden: fn(Var) -> Var,
    data: &Dataset,
) -> Result<(Recorder, Option<(Problem, String)>)> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [BATCH, 64]), graph.labels("y", BATCH));
    let loss = hidden(x).linear(10).cross_entropy(&y);
    let rule: Box<dyn AnyRule> = from_json(rule)?;
    let mut trainer = graph.trainer(&loss, rule).seed(1).build(&stage.gpu)?;
    let (mut recorder, mut monitor) = (Recorder::default(), GradientMonitor::new(5));
    let mut callbacks = Callbacks::new().with(&mut monitor).with(&mut recorder);
    let options = FitOptions { epochs: EPOCHS, ..FitOptions::default() };
    trainer.fit(&mut DataLoader::new(data, BATCH)?.shuffle(1), &options, &mut callbacks)?;
    drop(callbacks);
    let said = monitor.diagnoses().first().map(|found| (found.problem, found.figures.clone()));
    Ok((recorder, said))
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let [train, _] = samples()?;
    let data = Dataset::new(train.pixels, &[64], train.labels, 10)?;
    let (mut losses, mut gradients, mut said) = (Vec::new(), Vec::new(), Vec::new());
    let mut steps = 0;
    for ((name, rule, hidden, wrong), color) in cases().into_iter().zip(COLORS) {
        let (recorder, diagnosis) = run(stage, &rule, hidden, &data)?;
        let problem = diagnosis.as_ref().map(|(problem, _)| *problem);
        ensure!(problem == wrong, "{name}: expected {wrong:?}, the monitor says {diagnosis:?}");
        match diagnosis {
            Some((problem, figures)) => said.push(format!("{name}: {problem} ({figures})")),
            None => said.push(format!("{name}: nothing to say")),
        }
        steps = recorder.losses.len();
        losses.push(numbered(name, color, smoothed(&recorder.losses, 5)));
        let y = recorder.gradients.iter().map(|norm| norm.max(1e-12)).collect();
        gradients.push(Curve { name: name.to_owned(), color, x: recorder.steps, y, band: Vec::new() });
    }
    let line = "Digits with batches of 32. The monitor reads the norms of every fifth step, and names what is wrong.";
    let title = "What is wrong with a run shows in its loss and in its gradients";
    let svg = sheet((880, 420), title, &[line], |body| {
        let areas = cells(body, 1, 2, 14)?;
        let x = Scale::linear(0.0..steps as f64, "step");
        let mut plot = panel(&areas[0], "Loss", (&x, &Scale::log(0.05..100.0, "mean of 5 steps")), 114)?;
        curves::draw(&areas[0], &mut plot, &losses)?;
        let mut plot = panel(&areas[1], "Gradients", (&x, &Scale::log(1e-3..100.0, "norm")), 114)?;
        curves::draw(&areas[1], &mut plot, &gradients)
    })?;
    Ok(Picture { svg, shows: format!("{}.", said.join("; ")) })
}
