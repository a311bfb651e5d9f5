//! Training under a constraint: the weights of a small network, as one vector, may not be longer than asked. SLSQP keeps to
//! that, with losses and gradients from the device.
//!
//! `cargo run --release --example constrained`

use std::sync::Mutex;

use anyhow::{Result, ensure};
use gradus::gpu::Recorder;
use gradus::graph::{Graph, PlanOptions, Workspace};
use gradus::search::{Constraint, MinimizeOptions, minimize_scalar_function};
use gradus::{Gpu, GpuOptions};

const POINTS: usize = 64;
const LONGEST: f64 = 3.0;

fn main() -> Result<()> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [POINTS, 1]), graph.input("y", [POINTS, 1]));
    let loss = x.linear(6).tanh().linear(1).mse_loss(&y);
    let gpu = Gpu::new(GpuOptions::default())?;
    let mut params = graph.store(&gpu, 1)?;
    let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new())?;
    let at = |point: usize| 4.0 * point as f32 / POINTS as f32 - 2.0;
    plan.write("x", &(0..POINTS).map(at).collect::<Vec<_>>()[..])?;
    plan.write("y", &(0..POINTS).map(|point| (2.0 * at(point)).sin()).collect::<Vec<_>>()[..])?;

    let spans: Vec<(String, usize)> =
        params.layout().spans().iter().map(|span| (span.name.clone(), span.shape.iter().product())).collect();
    let mut start = Vec::new();
    for (name, _) in &spans {
        start.extend(params.read(name)?.iter().map(|value| f64::from(*value)));
    }
    // The loss at `weights`, and its gradient if that is asked for.
    let run = |weights: &[f64], gradient: bool| -> Result<Vec<f64>> {
        let mut rest = weights;
        for (name, len) in &spans {
            let (values, others) = rest.split_at(*len);
            #[expect(clippy::cast_possible_truncation, reason = "the device trains in f32")]
            let values: Vec<f32> = values.iter().map(|value| *value as f32).collect();
            params.write(name, &values)?;
            rest = others;
        }
        let mut encoder = gpu.encoder("closure");
        plan.record(&mut Recorder::new(&gpu, &mut encoder))?;
        gpu.submit(encoder)?;
        let mut results = vec![plan.read("loss")?[0]];
        if gradient {
            results.clear();
            for (name, _) in &spans {
                results.extend(params.read_grad(name)?);
            }
        }
        Ok(results.into_iter().map(f64::from).collect())
    };
    let run = Mutex::new(run);
    // What cannot be computed is no number, which is ranked last.
    let call = |w: &[f64], gradient: bool| run.lock().ok().and_then(|mut run| run(w, gradient).ok());
    let value = |w: &[f64]| call(w, false).map_or(f64::NAN, |loss| loss[0]);
    let gradient = |w: &[f64]| call(w, true).unwrap_or_default();
    let squares = |w: &[f64]| w.iter().map(|w| w * w).sum::<f64>();

    let short = Constraint::inequality(move |w| LONGEST * LONGEST - squares(w))
        .gradient(|w| w.iter().map(|w| -2.0 * w).collect());
    let options = MinimizeOptions::new().gradient(gradient).max_evaluations(300);
    let bound = minimize_scalar_function(value, &start, options.constraint(short))?;
    let options = MinimizeOptions::new().gradient(gradient).max_evaluations(300);
    let free = minimize_scalar_function(value, &start, options)?;

    for (name, found) in [("bound", &bound), ("free", &free)] {
        let length = squares(&found.x).sqrt();
        println!(
            "{name}: loss {:.4}, length {length:.4}, {} losses: {}",
            found.fun, found.nfev, found.message
        );
    }
    ensure!(bound.max_violation < 1e-5, "the weights are longer than allowed by {}", bound.max_violation);
    ensure!(free.fun < bound.fun && bound.fun < 0.5 * value(&start), "the bound run learnt too little");
    ensure!(squares(&free.x).sqrt() > LONGEST, "the constraint bound nothing");
    Ok(())
}
