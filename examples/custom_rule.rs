//! Lion as a custom rule in WGSL: fits a line through noisy points, and ends at the same parameters as the built-in
//! Lion.
//!
//! `cargo run --release --example custom_rule`

use gradus::graph::Graph;
use gradus::optim::{AnyRule, CustomRule, Lion};
use gradus::{Error, Gpu, GpuOptions};

const LION: &str = "
fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let direction = sign_of(averaged((*s).exp_avg, g, hyper.beta1, hyper.one_minus_beta1));
    (*s).exp_avg = averaged((*s).exp_avg, g, hyper.beta2, hyper.one_minus_beta2);
    return p - call.lr * direction;
}";

fn lion() -> Result<CustomRule, Error> {
    CustomRule::builder("Lion", LION)
        .lr(2e-3)
        .slot("exp_avg")
        .hyper("beta1", 0.9, 0.0..1.0)
        .hyper("beta2", 0.99, 0.0..1.0)
        .constant("one_minus_beta1", |_, h| 1.0 - h.get("beta1"))
        .constant("one_minus_beta2", |_, h| 1.0 - h.get("beta2"))
        .build()
}

/// Trains `y = w x + b` on points of `y = 2 x - 1`. Returns the last loss, `w` and `b`.
fn fit<R: AnyRule + Clone>(gpu: &Gpu, rule: R) -> Result<[f32; 3], Error> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [32, 1]), graph.input("y", [32, 1]));
    let loss = x.linear(1).mse_loss(&y);
    let mut trainer = graph.trainer(&loss, rule).build(gpu)?;
    let xs: Vec<f32> = (0..32_u8).map(|i| f32::from(i) / 16.0 - 1.0).collect();
    let noise = |x: f32| 0.05 * (40.0 * x).sin();
    let ys: Vec<f32> = xs.iter().map(|x| 2.0 * x - 1.0 + noise(*x)).collect();
    for _ in 0..2000 {
        trainer.step(&[("x", &xs), ("y", &ys)])?;
    }
    let loss = trainer.read_loss()?;
    let [w, b] = ["linear1.weight", "linear1.bias"].map(|name| trainer.params().read(name));
    Ok([loss, w?[0], b?[0]])
}

fn main() -> Result<(), Error> {
    let gpu = Gpu::new(GpuOptions::default())?;
    let [loss, w, b] = fit(&gpu, lion()?)?;
    println!("loss {loss:.5}: y = {w:.3} x + {b:.3}");
    assert!(loss < 0.01, "it does not learn");
    let built_in = fit(&gpu, Lion { lr: 2e-3, ..Default::default() })?;
    assert_eq!([loss, w, b], built_in, "the built-in Lion ends elsewhere");
    println!("the built-in Lion: the same, bit for bit");
    Ok(())
}
