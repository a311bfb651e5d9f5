//! A run on few samples under watch: loss, norms and rate of each step, until it is stopped.

use anyhow::{Context, Result, ensure};
use gradus::graph::Graph;
use gradus::optim::Adam;
use gradus::schedule::ReduceLROnPlateau;
use gradus::train::EarlyStopping;
use plotters::prelude::*;

use crate::curves::{self, Curve};
use crate::descent::numbered;
use crate::learn::{Batches, Samples, samples, smoothed};
use crate::sheet::{Area, COLORS, Panel, Scale, cells, panel, sheet, units};
use crate::{Picture, Stage};

/// Samples to learn from: so few that they are soon known by heart.
const FEW: usize = 160;
const BATCH: usize = 16;
const EPOCHS: usize = 80;
const PATIENCE: u64 = 10;

/// What was seen of each step, and the validation loss of each epoch.
#[derive(Default)]
struct Watched {
    losses: Vec<f64>,
    gradients: Vec<f64>,
    parameters: Vec<f64>,
    rates: Vec<f64>,
    validation: Vec<f64>,
    best_epoch: usize,
}

fn watch(stage: &Stage, [train, test]: &[Samples; 2]) -> Result<Watched> {
    let few = Samples { pixels: train.pixels[..64 * FEW].to_vec(), labels: train.labels[..FEW].to_vec() };
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [BATCH, 64]), graph.labels("y", BATCH));
    let loss = x.linear(64).relu().linear(64).relu().linear(10).cross_entropy(&y);
    let schedule = ReduceLROnPlateau { factor: 0.3, patience: 3, ..ReduceLROnPlateau::default() };
    let trainer = graph.trainer(&loss, Adam { lr: 5e-3, ..Adam::default() }).schedule(schedule).seed(1);
    let mut trainer = trainer.steps_per_epoch((FEW / BATCH) as u64).build(&stage.gpu)?;
    trainer.report_norms(1)?;
    let mut stopping = EarlyStopping { patience: PATIENCE, ..EarlyStopping::default() };
    let mut batches = Batches::new(&few, 1);
    let mut seen = Watched::default();
    for _ in 0..EPOCHS {
        for _ in 0..FEW / BATCH {
            let (x, y) = batches.next(BATCH);
            trainer.step(&[("x", &x), ("y", &y)])?;
            seen.rates.push(trainer.optimizer().rules().next().context("there is one group")?.lr);
            seen.losses.push(f64::from(trainer.read_loss()?));
            for report in trainer.read_norm_reports()? {
                seen.gradients.push(report.total.gradient);
                seen.parameters.push(report.total.parameter);
            }
        }
        let validation = trainer.evaluate(&[("x", &test.pixels), ("y", &test.labels)], 360)?.loss;
        seen.validation.push(validation);
        trainer.observe(validation)?;
        if stopping.observe(validation)? {
            break;
        }
    }
    seen.best_epoch = usize::try_from(stopping.state.best_epoch.context("no epoch was the best")?)?;
    Ok(seen)
}

/// A vertical line at a step.
fn mark(plot: &mut Panel<'_>, step: f64) -> Result<()> {
    let ends = plot.y_range();
    let line = PathElement::new(vec![(step, ends.start), (step, ends.end)], BLACK.stroke_width(units(1)));
    plot.draw_series([line])?;
    Ok(())
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let seen = watch(stage, &samples()?)?;
    let (steps, per_epoch) = (seen.losses.len(), FEW / BATCH);
    ensure!(seen.gradients.len() == steps && seen.rates.len() == steps, "a step was not seen");
    let epochs = seen.validation.len();
    let lowest = seen.validation.iter().copied().fold(f64::INFINITY, f64::min);
    let best = seen.validation.iter().position(|loss| *loss == lowest).context("no epoch was the best")?;
    ensure!(epochs < EPOCHS && seen.best_epoch >= 1, "the run was not stopped");
    let cuts = seen.rates.windows(2).filter(|two| two[1] < two[0]).count();
    ensure!(cuts >= 1, "the rate was never cut");
    let training = smoothed(&seen.losses, per_epoch);
    let (first, last) = (training[per_epoch - 1], training[steps - 1]);
    ensure!(last < 0.2 * lowest, "the training loss ends at {last}, the lowest of unseen digits is {lowest}");
    let at = ((best + 1) * per_epoch) as f64;
    let losses = [
        numbered("training", COLORS[0], training),
        Curve {
            name: "unseen".to_owned(),
            color: COLORS[1],
            x: (1..=epochs).map(|epoch| (epoch * per_epoch) as f64).collect(),
            y: seen.validation.clone(),
            band: Vec::new(),
        },
    ];
    let single = |name: &str, values: &[f64]| [numbered(name, COLORS[0], values.to_vec())];
    let panels = [
        ("Loss: means of an epoch", Scale::log(1e-3..3.0, "loss"), &losses[..]),
        ("Gradient of each step", Scale::log(0.01..10.0, "norm"), &single("gradient", &seen.gradients)[..]),
        ("Parameters", Scale::linear(6.0..16.0, "norm"), &single("norm", &seen.parameters)[..]),
        ("Rate of each step", Scale::log(1e-4..1e-2, "rate"), &single("rate", &seen.rates)[..]),
    ];
    let line = format!(
        "{FEW} digits, 64-64-64-10, Adam; the rate is cut to 0.3 after 3 epochs without progress on unseen digits, and after {PATIENCE} \
         the run ends."
    );
    let lines = [line.as_str(), "Vertical line: the best epoch."];
    let svg = sheet((880, 660), "The run ends when unseen digits no longer gain", &lines, |body| {
        for (area, (heading, y, curves)) in cells(body, 2, 2, 14)?.iter().zip(&panels) {
            draw_panel(area, (heading, y), steps, at, curves)?;
        }
        Ok(())
    })?;
    let shows = format!(
        "The training loss falls from {first:.2} to {last:.4}, that of unseen digits only to {lowest:.3}, in epoch {}; the rate is cut \
         {cuts} times, and the run ends after {epochs} epochs of at most {EPOCHS}.",
        best + 1
    );
    Ok(Picture { svg, shows })
}

fn draw_panel(
    area: &Area<'_>,
    (heading, y): (&str, &Scale<'_>),
    steps: usize,
    at: f64,
    curves: &[Curve],
) -> Result<()> {
    let mut plot = panel(area, heading, (&Scale::linear(0.0..steps as f64, "step"), y), 64)?;
    mark(&mut plot, at)?;
    curves::draw(area, &mut plot, curves)
}
