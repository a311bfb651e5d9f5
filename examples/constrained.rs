//! Training under a constraint: the weights of a small network, as one vector, may not be longer than asked.
//!
//! SLSQP keeps to that, with losses and gradients from the device. So does SGD whose weights are moved back to the nearest ones
//! that are allowed after each step: projected gradient descent (Bertsekas 1976, On the Goldstein-Levitin-Polyak gradient
//! projection method).
//!
//! `cargo run --release --example constrained`

use std::sync::Mutex;

use anyhow::{Result, ensure};
use gradus::gpu::Recorder;
use gradus::graph::{Graph, PlanOptions, Var, Workspace};
use gradus::optim::SGD;
use gradus::search::{Constraint, MinimizeOptions, minimize_scalar_function};
use gradus::{Gpu, GpuOptions, ParamStore};

const POINTS: usize = 64;
const LONGEST: f64 = 3.0;
const STEPS: usize = 1500;

/// A network of 19 weights that fits a curve.
fn network() -> (Graph, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [POINTS, 1]), graph.input("y", [POINTS, 1]));
    let loss = x.linear(6).tanh().linear(1).mse_loss(&y);
    (graph, loss)
}

/// Points of the curve.
fn curve() -> [Vec<f32>; 2] {
    let at = |point: usize| 4.0 * point as f32 / POINTS as f32 - 2.0;
    [(0..POINTS).map(at).collect(), (0..POINTS).map(|point| (2.0 * at(point)).sin()).collect()]
}

/// Names of the tensors and how many weights each has.
fn tensors(params: &ParamStore) -> Vec<(String, usize)> {
    params.layout().spans().iter().map(|span| (span.name.clone(), span.shape.iter().product())).collect()
}

/// Moves the weights to the nearest ones that are no longer than allowed, and returns their length.
fn project(params: &mut ParamStore) -> Result<f64> {
    let mut all = Vec::new();
    for (name, _) in tensors(params) {
        let values = params.read(&name)?;
        all.push((name, values));
    }
    let square = |value: &f32| f64::from(*value).powi(2);
    let length = all.iter().flat_map(|(_, values)| values).map(square).sum::<f64>().sqrt();
    if length > LONGEST {
        for (name, values) in &mut all {
            #[expect(clippy::cast_possible_truncation, reason = "the device trains in f32")]
            values.iter_mut().for_each(|value| *value *= (LONGEST / length) as f32);
            params.write(name, values)?;
        }
    }
    Ok(length.min(LONGEST))
}

/// The loss and the length of the weights after steps of SGD, each followed by a projection.
fn projected(gpu: &Gpu) -> Result<(f64, f64)> {
    let (graph, loss) = network();
    let [x, y] = curve();
    let rule = SGD { lr: 0.05, momentum: 0.9, ..SGD::default() };
    let mut trainer = graph.trainer(&loss, rule).seed(1).build(gpu)?;
    let mut length = 0.0;
    for _ in 0..STEPS {
        trainer.step(&[("x", &x), ("y", &y)])?;
        length = project(trainer.params_mut())?;
    }
    Ok((trainer.evaluate(&[("x", &x), ("y", &y)], POINTS)?.loss, length))
}

fn main() -> Result<()> {
    let gpu = Gpu::new(GpuOptions::default())?;
    let best = slsqp(&gpu)?;
    let (loss, length) = projected(&gpu)?;
    println!("projected: loss {loss:.4}, length {length:.4}, {STEPS} steps");
    ensure!(length <= LONGEST * (1.0 + 1e-6), "the weights are {length} long");
    ensure!(loss < 1.1 * best, "SGD learnt less than SLSQP: {loss} against {best}");
    Ok(())
}

/// The least loss that SLSQP finds with weights that are short enough.
fn slsqp(gpu: &Gpu) -> Result<f64> {
    let (graph, loss) = network();
    let mut params = graph.store(gpu, 1)?;
    let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new())?;
    let [x, y] = curve();
    plan.write("x", &x)?;
    plan.write("y", &y)?;

    let spans = tensors(&params);
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
        plan.record(&mut Recorder::new(gpu, &mut encoder))?;
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
    Ok(bound.fun)
}
