//! Clipping by norm, then noise, then a separate learning rate for each parameter: the safeguards taught in
//! optimisation courses, combined, on Rosenbrock's function of four variables.
//!
//! `cargo run --release --example robust_optimizer -- --seed 1`
//!
//! The preconditioner is [`RMSprop`] with `alpha` 0.999: `v = alpha * v + (1 - alpha) * g^2`,
//! `p -= lr * g / (sqrt(v) + eps)`, from `v = 0` and without bias correction, which makes the first steps large.
//! Hand-written versions in such courses are the same, except that their noise comes from the host's generator, while ours is a pure function
//! of seed, step and element; and they compute in f64, the device in f32. Where theirs stop at a gradient below 1e-6,
//! this one runs all steps, because noise would move it on anyway.

use clap::Parser;
use gradus::grad::{ClipGradNorm, Noise, Transforms};
use gradus::optim::{RMSprop, Rule};
use gradus::{Gpu, GpuOptions, ParamStore};
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg32;

#[derive(Debug, Parser)]
struct Args {
    #[arg(long, default_value_t = 10_000)]
    steps: u64,
    #[arg(long, default_value_t = 0)]
    seed: u64,
    #[arg(long, default_value_t = 1e-4)]
    lr: f64,
}

/// Sum of `100 (x[i+1] - x[i]^2)^2 + (1 - x[i])^2`. Its minimum 0 is at all ones, at the end of a curved valley.
fn rosenbrock(x: &[f64]) -> f64 {
    x.windows(2).map(|w| 100.0 * (w[1] - w[0] * w[0]).powi(2) + (1.0 - w[0]).powi(2)).sum()
}

fn slope(x: &[f64]) -> Vec<f64> {
    let mut slope = vec![0.0; x.len()];
    for (i, w) in x.windows(2).enumerate() {
        let above = w[1] - w[0] * w[0];
        slope[i] += -400.0 * w[0] * above - 2.0 * (1.0 - w[0]);
        slope[i + 1] += 200.0 * above;
    }
    slope
}

fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let mut random = Pcg32::new(args.seed, 0);
    let start: Vec<f32> = (0..4).map(|_| StandardNormal.sample(&mut random)).collect();
    let gpu = Gpu::new(GpuOptions::default())?;
    let mut params = ParamStore::builder().tensor("x", [4], &start).build(&gpu)?;
    let mut optimizer = RMSprop { lr: args.lr, alpha: 0.999, ..RMSprop::default() }.build(&params)?;
    let safeguards = Transforms {
        clip_grad_norm: Some(ClipGradNorm::new(1.0)),
        noise: Some(Noise { eta: 1e-3, gamma: 0.55, seed: args.seed }),
        ..Transforms::default()
    };
    optimizer.set_transforms(safeguards, &params)?;

    let at = |params: &ParamStore| -> Result<Vec<f64>, gradus::Error> {
        Ok(params.read("x")?.into_iter().map(f64::from).collect())
    };
    let first = rosenbrock(&at(&params)?);
    println!("{:>6} {:>12} {:>12}  x", "step", "loss", "norm");
    for step in 0..args.steps {
        let x = at(&params)?;
        #[expect(clippy::cast_possible_truncation, reason = "rounding is the purpose")]
        let gradient: Vec<f32> = slope(&x).into_iter().map(|g| g as f32).collect();
        params.write_grads(&gradient)?;
        optimizer.step(&mut params)?;
        if step % args.steps.div_ceil(10) == 0 {
            println!("{step:>6} {:>12.5} {:>12.5}  {x:.4?}", rosenbrock(&x), optimizer.read_norm(None)?);
        }
    }
    let (x, last) = (at(&params)?, rosenbrock(&at(&params)?));
    println!("{:>6} {last:>12.5} {:>12}  {x:.4?}", args.steps, "");
    anyhow::ensure!(last.is_finite() && last < 0.5 * first, "from {first} to {last} only");
    println!("the loss fell from {first:.4} to {last:.4}");
    Ok(())
}
