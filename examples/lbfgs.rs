//! Adam first, then L-BFGS: a small network fits a curve on all of its points at once.
//!
//! `cargo run --release --example lbfgs`

use gradus::gpu::Recorder;
use gradus::graph::{Graph, PlanOptions, Workspace};
use gradus::optim::{Adam, LBFGS, LineSearch, Rule};
use gradus::{Error, Gpu, GpuOptions};

const POINTS: usize = 128;

fn main() -> Result<(), Error> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [POINTS, 4]), graph.input("y", [POINTS, 1]));
    let loss = x.linear(16).tanh().linear(1).mse_loss(&y);
    let gpu = Gpu::new(GpuOptions::default())?;
    let mut params = graph.store(&gpu, 1)?;
    let plan = graph.compile(&params, &PlanOptions::train(&loss), &mut Workspace::new())?;

    let at = |point: usize| 2.0 * point as f32 / POINTS as f32 - 1.0;
    let inputs: Vec<f32> = (0..POINTS).flat_map(|point| (1..=4).map(move |n| at(point).powi(n))).collect();
    let curve: Vec<f32> = (0..POINTS).map(|point| (5.0 * at(point)).sin()).collect();
    plan.write("x", &inputs[..])?;
    plan.write("y", &curve[..])?;
    // Leaves the gradients in the store.
    let evaluate = || -> Result<f64, Error> {
        let mut encoder = gpu.encoder("closure");
        plan.record(&mut Recorder::new(&gpu, &mut encoder))?;
        gpu.submit(encoder)?;
        Ok(f64::from(plan.read("loss")?[0]))
    };

    let mut adam = Adam { lr: 0.01, ..Default::default() }.build(&params)?;
    let first = evaluate()?;
    for _ in 0..200 {
        adam.step(&mut params)?;
        evaluate()?;
    }
    let warm = evaluate()?;
    let names: Vec<String> = params.layout().spans().iter().map(|span| span.name.clone()).collect();
    let kept = names.iter().map(|name| params.read(name)).collect::<Result<Vec<_>, _>>()?;

    let options = LBFGS { line_search_fn: Some(LineSearch::StrongWolfe), ..Default::default() };
    let mut lbfgs = options.build(&params)?;
    let mut last = warm;
    for step in 1..=5 {
        let done = lbfgs.step(&mut params, |_| evaluate())?;
        last = done.last_loss;
        println!("step {step}: {} closures, loss {last:.6}, {:?}", done.evaluations, done.stop);
    }

    // For comparison, as many closure calls with Adam, from the same parameters.
    for (name, values) in names.iter().zip(&kept) {
        params.write(name, values)?;
    }
    for _ in 0..lbfgs.func_evals() {
        evaluate()?;
        adam.step(&mut params)?;
    }
    let adams = evaluate()?;
    println!("loss {first:.4} at first, {warm:.4} after 200 steps of Adam");
    println!("{} more closures: {last:.6} with L-BFGS, {adams:.6} with Adam", lbfgs.func_evals());
    assert!(last < 0.1 * warm && last < 0.1 * adams, "L-BFGS gained too little");
    Ok(())
}
