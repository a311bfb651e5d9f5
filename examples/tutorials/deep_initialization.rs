//! A deep network with several initial weights: activations and gradients of each layer, and training.

use anyhow::{Result, ensure};
use gradus::gpu::Recorder;
use gradus::graph::{Graph, PlanOptions, Workspace};
use gradus::nn::{Fan, Init, Linear, Nonlinearity};
use plotters::prelude::RGBColor;
use serde_json::json;

use crate::curves::{self, Curve};
use crate::descent::numbered;
use crate::learn::{Run, Samples, learn, samples, smoothed};
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage};

const HIDDEN: [usize; 12] = [64; 12];

/// Root mean squares by layer: of the activations, and of the gradients of weights.
fn sizes(stage: &Stage, init: Init, test: &Samples) -> Result<[Vec<f64>; 2]> {
    let (graph, count) = (Graph::new(), test.labels.len());
    let (x, y) = (graph.input("x", [count, 64]), graph.labels("y", count));
    let mut layers = vec![x];
    for units in HIDDEN {
        layers.push(layers[layers.len() - 1].linear(Linear::new(units).init(init).without_bias()).relu());
    }
    let loss = layers[HIDDEN.len()].linear(Linear::new(10).init(init).without_bias()).cross_entropy(&y);
    let mut options = PlanOptions::train(&loss);
    for (number, layer) in layers.iter().enumerate().skip(1) {
        options = options.output(&format!("layer{number}"), layer);
    }
    let (params, mut workspace) = (graph.store(&stage.gpu, 1)?, Workspace::new());
    let plan = graph.compile(&params, &options, &mut workspace)?;
    plan.write("x", &test.pixels)?;
    plan.write("y", &test.labels)?;
    let mut encoder = stage.gpu.encoder("layers");
    plan.record(&mut Recorder::new(&stage.gpu, &mut encoder))?;
    stage.gpu.submit(encoder)?;
    let size = |values: &[f32]| {
        (values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
    };
    let numbers = 1..=HIDDEN.len();
    let activations: Result<Vec<f64>, gradus::Error> =
        numbers.clone().map(|number| Ok(size(&plan.read(&format!("layer{number}"))?))).collect();
    let gradients: Result<Vec<f64>, gradus::Error> =
        numbers.map(|number| Ok(size(&params.read_grad(&format!("linear{number}.weight"))?))).collect();
    Ok([activations?, gradients?])
}

fn by_layer(name: &str, color: RGBColor, y: Vec<f64>) -> Curve {
    let x = (1..=y.len()).map(|number| number as f64).collect();
    Curve { name: name.to_owned(), color, x, y, band: Vec::new() }
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let steps = if stage.quick { 100 } else { 300 };
    let sets = samples()?;
    let inits = [
        ("normal 0.01", Init::Normal { std: 0.01 }),
        ("normal 0.4", Init::Normal { std: 0.4 }),
        ("Xavier", Init::xavier_normal(Nonlinearity::Linear)),
        ("Kaiming", Init::kaiming_normal(Fan::In, Nonlinearity::Relu)),
    ];
    let [mut activations, mut gradients, mut losses] = [const { Vec::new() }; 3];
    let mut ends = Vec::new();
    for ((name, init), color) in inits.into_iter().zip(COLORS) {
        let [forward, backward] = sizes(stage, init, &sets[1])?;
        let run = Run {
            hidden: &HIDDEN,
            init,
            biases: false,
            ..Run::new(json!({"name": "Adam", "lr": 1e-3}), steps)
        };
        let learnt = learn(&stage.gpu, run, &sets)?;
        ends.push((forward[HIDDEN.len() - 1], learnt.test.metrics[0]));
        activations.push(by_layer(name, color, forward));
        gradients.push(by_layer(name, color, backward));
        losses.push(numbered(name, color, smoothed(&learnt.losses, 20)));
    }
    let line = "Digits, 12 layers of 64 units with ReLU, without biases. Size: root mean square, before the first step.";
    let title = "Weights of the right size keep activations and gradients alive through twelve layers";
    let svg = sheet((1000, 400), title, &[line], |body| {
        let areas = cells(body, 1, 3, 10)?;
        let x = Scale::linear(1.0..12.0, "layer");
        let mut plot = panel(&areas[0], "Activations", (&x, &Scale::log(1e-16..1e5, "size")), 88)?;
        curves::draw(&areas[0], &mut plot, &activations)?;
        let mut plot = panel(&areas[1], "Gradients of weights", (&x, &Scale::log(1e-18..1e4, "size")), 88)?;
        curves::draw(&areas[1], &mut plot, &gradients)?;
        let x = Scale::linear(0.0..steps as f64, "step");
        let mut plot = panel(
            &areas[2],
            "Training with Adam",
            (&x, &Scale::log(0.05..1e4, "loss, mean of 20 steps")),
            88,
        )?;
        curves::draw(&areas[2], &mut plot, &losses)
    })?;
    let [small, large, xavier, kaiming] = ends[..] else { anyhow::bail!("{ends:?}") };
    ensure!(small.0 < 1e-10 && large.0 > 100.0, "sizes {} and {}", small.0, large.0);
    ensure!((0.05..5.0).contains(&kaiming.0) && xavier.0 < 0.2 * kaiming.0, "{kaiming:?} {xavier:?}");
    let shows = format!(
        "After twelve layers activations have a size of {:.0e} from normal weights of 0.01, {:.0e} from those of 0.4, {:.3} with \
         Xavier's and {:.2} with Kaiming's. {steps} steps later the accuracies are {:.2}, {:.2}, {:.2} and {:.2}.",
        small.0, large.0, xavier.0, kaiming.0, small.1, large.1, xavier.1, kaiming.1
    );
    Ok(Picture { svg, shows })
}
