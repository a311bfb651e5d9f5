//! How times scale: a step of AdamW with the number of parameters, and a step of the reference network with the batch
//! size.
//!
//! Each series is fitted by `time = a + b n`, minimising relative errors, because times span decades. `a` is the
//! fixed cost of a step, and a large residual shows where something other than `n` determines the time. Times are the
//! best of several runs. `cargo bench --bench scaling`.

#[path = "support/measure.rs"]
mod measure;
#[path = "support/networks.rs"]
#[expect(dead_code, reason = "blocks")]
mod networks;

use anyhow::Result;
use gradus::graph::Graph;
use gradus::optim::{AdamW, Rule};
use gradus::{Gpu, GpuOptions, ParamStore};

use measure::{CopyKernel, best, each};
use networks::{reference, reference_batch};

fn main() -> Result<()> {
    let gpu = Gpu::new(GpuOptions::default())?;
    println!("{} ({:?}, {})", gpu.info().name, gpu.info().backend, gpu.info().driver_info);
    let copy = CopyKernel::new(&gpu, 16 << 20)?;
    let copy_time = copy.time(&gpu)?;
    println!("copy: {:.1} GB/s", rate(copy.bytes, copy_time));
    let counts = [100_000, 300_000, 1_000_000, 3_000_000, 10_000_000, 30_000_000, 100_000_000];
    let times = counts.map(|count| adamw(&gpu, count));
    let points = points(counts, times)?;
    let (a, b) = print("AdamW, ten tensors", "parameters", &points);
    println!(
        "  {:.3} ms + 28 bytes a parameter at {:.1} GB/s, {:.2} of copy",
        a,
        28.0 / b / 1e6,
        28.0 / b / 1e6 / rate(copy.bytes, copy_time)
    );
    let batches = [1, 2, 4, 8, 16, 32, 64, 128, 256, 512];
    let times = batches.map(|batch| step(&gpu, batch));
    let (a, b) = print("reference network", "samples", &self::points(batches, times)?);
    println!("  {a:.3} ms + {:.4} ms a sample", b);
    Ok(())
}

fn rate(bytes: usize, milliseconds: f64) -> f64 {
    bytes as f64 / milliseconds / 1e6
}

fn points<const N: usize>(sizes: [usize; N], times: [Result<f64>; N]) -> Result<Vec<[f64; 2]>> {
    sizes.into_iter().zip(times).map(|(size, time)| Ok([size as f64, time?])).collect()
}

/// Prints the measured times next to the fit, and returns the fit.
fn print(what: &str, unit: &str, points: &[[f64; 2]]) -> (f64, f64) {
    let (a, b) = fit(points);
    println!("{what}: time = {a:.4} ms + {b:.3e} ms * {unit}");
    for [size, time] in points {
        let fitted = a + b * size;
        println!(
            "  {size:>11} {unit}: {time:>9.3} ms, fitted {fitted:>9.3} ms ({:+.0} %)",
            100.0 * (time / fitted - 1.0)
        );
    }
    (a, b)
}

/// The least-squares fit that minimises `(a + b n - time) / time`.
fn fit(points: &[[f64; 2]]) -> (f64, f64) {
    let sum = |term: fn(f64, f64) -> f64| points.iter().map(|[n, time]| term(*n, *time)).sum::<f64>();
    let (ones, n, square) = (sum(|_, t| 1.0 / t / t), sum(|n, t| n / t / t), sum(|n, t| n * n / t / t));
    let (time, product) = (sum(|_, t| 1.0 / t), sum(|n, t| n / t));
    let determinant = ones * square - n * n;
    ((square * time - n * product) / determinant, (ones * product - n * time) / determinant)
}

/// Milliseconds of a step over so many parameters in ten tensors.
fn adamw(gpu: &Gpu, count: usize) -> Result<f64> {
    let zeros = vec![0.0; count / 10];
    let mut builder = ParamStore::builder();
    for number in 0..10 {
        builder = builder.tensor(format!("{number}"), [zeros.len()], &zeros);
    }
    let mut params = builder.build(gpu)?;
    let mut optimizer = AdamW::default().build(&params)?;
    each(gpu, |times| {
        for _ in 0..times {
            optimizer.step(&mut params)?;
        }
        Ok(gpu.wait()?)
    })
}

/// Milliseconds of a step of the reference network.
fn step(gpu: &Gpu, batch: usize) -> Result<f64> {
    let graph = Graph::new();
    let loss = reference(&graph, batch);
    let mut trainer = graph.trainer(&loss, AdamW::default()).build(gpu)?;
    let (x, y) = reference_batch(batch);
    best(|| {
        trainer.step(&[("x", &x), ("y", &y)])?;
        trainer.read_loss()?;
        Ok(())
    })
}
