//! Adam that becomes SGD halfway: one rule, with a hyperparameter that the host changes between two steps.
//!
//! `cargo run --release --example adam_then_sgd`

use gradus::optim::CustomRule;
use gradus::{Error, Gpu, GpuOptions, ParamStore};

const RULE: &str = "
fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    (*s).exp_avg = averaged((*s).exp_avg, g, hyper.beta1, hyper.one_minus_beta1);
    (*s).exp_avg_sq = averaged((*s).exp_avg_sq, squared(g), hyper.beta2, hyper.one_minus_beta2);
    let adam = hyper.step_size * (*s).exp_avg / at_least_tiny(hyper.root_scale * sqrt((*s).exp_avg_sq) + 1e-8);
    return p - select(adam, call.lr * g, hyper.sgd != 0.0);
}";

fn rule() -> Result<CustomRule, Error> {
    CustomRule::builder("AdamThenSGD", RULE)
        .lr(0.05)
        .slot("exp_avg")
        .slot("exp_avg_sq")
        .hyper("beta1", 0.9, 0.0..1.0)
        .hyper("beta2", 0.999, 0.0..1.0)
        .hyper("sgd", 0.0, 0.0..=1.0)
        .constant("one_minus_beta1", |_, h| 1.0 - h.get("beta1"))
        .constant("one_minus_beta2", |_, h| 1.0 - h.get("beta2"))
        .constant("step_size", |step, h| h.get("lr") / step.correction(h.get("beta1")))
        .constant("root_scale", |step, h| 1.0 / step.correction(h.get("beta2")).sqrt())
        .build()
}

fn main() -> Result<(), Error> {
    const STEPS: usize = 200;
    let gpu = Gpu::new(GpuOptions::default())?;
    // Half of the squared distance to the target, in a valley that is ten times steeper in one direction.
    let (target, steepness) = ([1.0, -2.0], [10.0, 1.0]);
    let mut params = ParamStore::builder().tensor("w", [2], &[3.0, 3.0]).build(&gpu)?;
    let mut optimizer = rule()?.build(&params)?;
    let mut distances = Vec::new();
    for step in 0..STEPS {
        if step == STEPS / 2 {
            let rule = optimizer.group_mut("default")?;
            rule.set("sgd", 1.0)?;
            rule.set("lr", 0.1)?;
        }
        let w = params.read("w")?;
        let away: Vec<f32> = w.iter().zip(target).map(|(w, target)| w - target).collect();
        let gradient: Vec<f32> = away.iter().zip(steepness).map(|(away, steep)| steep * away).collect();
        distances.push(away.iter().map(|away| away * away).sum::<f32>().sqrt());
        params.write_grads(&gradient)?;
        optimizer.step(&mut params)?;
        if step >= STEPS / 2 {
            let want: Vec<f32> = w.iter().zip(&gradient).map(|(w, g)| w - 0.1 * g).collect();
            let after = params.read("w")?;
            let close = after.iter().zip(&want).all(|(after, want)| (after - want).abs() < 1e-6);
            assert!(close, "step {step} is not one of SGD: {after:?}, expected {want:?}");
        }
    }
    let (half, last) = (distances[STEPS / 2], distances[STEPS - 1]);
    println!(
        "from the target: {:.3} at first, {half:.3} when Adam ends, {last:.6} when SGD ends",
        distances[0]
    );
    assert!(half < 0.5 * distances[0] && last < 0.01 * half, "it does not get nearer");
    Ok(())
}
