//! The effect of clipping and noise on gradients of very different sizes, as three histograms in one picture.
//!
//! `cargo run --release --example safeguards -- --out target/safeguards`
//!
//! A thousand samples of a hundred gradients, half of them near 0.01 and half near 100, pass through the device
//! together: unchanged, clipped to a norm of 1, and with noise of standard deviation 1e-3.

#[path = "support/histogram.rs"]
mod histogram;
#[path = "support/sheet.rs"]
mod sheet;

use std::ops::Range;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::Parser;
use gradus::grad::{ClipGradNorm, Noise, Transforms};
use gradus::optim::{Rule, SGD};
use gradus::{Gpu, GpuOptions, ParamStore};
use histogram::Values;
use rand_distr::{Distribution, StandardNormal};
use rand_pcg::Pcg32;
use sheet::{COLORS, Scale, cells, panel, save, sheet};

const SAMPLES: usize = 1000;
const DIMENSIONS: usize = 100;

#[derive(Debug, Parser)]
struct Args {
    /// Folder for the picture.
    #[arg(long, default_value = "target/safeguards")]
    out: PathBuf,
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// The gradients that a rule receives.
fn through(gpu: &Gpu, transforms: Transforms, gradients: &[f32]) -> Result<Vec<f32>> {
    let zeros = vec![0.0; gradients.len()];
    let mut params = ParamStore::builder().tensor("g", [SAMPLES, DIMENSIONS], &zeros).build(gpu)?;
    // Starting from zero, with a learning rate of 1 and `maximize`, the parameters become the gradients.
    let mut optimizer = SGD { lr: 1.0, maximize: true, ..SGD::default() }.build(&params)?;
    optimizer.set_transforms(transforms, &params)?;
    params.write_grads(gradients)?;
    optimizer.step(&mut params)?;
    Ok(params.read("g")?)
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt()
}

/// Root mean square.
fn size(values: &[f64]) -> f64 {
    (values.iter().map(|x| x * x).sum::<f64>() / values.len() as f64).sqrt()
}

/// For each sample, the columns of one half.
fn half(values: &[f32], columns: Range<usize>) -> Vec<f64> {
    values.chunks(DIMENSIONS).flat_map(|row| row[columns.clone()].iter().map(|x| f64::from(*x))).collect()
}

fn check(original: &[f32], clipped: &[f32], noisy: &[f32]) -> Result<()> {
    let (small, large) = (0..DIMENSIONS / 2, DIMENSIONS / 2..DIMENSIONS);
    ensure!(norm(original) > 1e4 && (norm(clipped) - 1.0).abs() < 1e-4, "the norm is {}", norm(clipped));
    // The direction does not change.
    let product: f64 = original.iter().zip(clipped).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    let cosine = product / norm(original) / norm(clipped);
    ensure!((cosine - 1.0).abs() < 1e-6, "the cosine is {cosine}");
    let (before, after) = (half(original, small.clone()), half(clipped, small.clone()));
    let factor = size(&after) / size(&before);
    ensure!((factor * norm(original) - 1.0).abs() < 1e-3, "small gradients were multiplied by {factor}");
    let added: Vec<f64> = noisy.iter().zip(original).map(|(a, b)| f64::from(*a) - f64::from(*b)).collect();
    let of_small: Vec<f64> = added.chunks(DIMENSIONS).flat_map(|row| row[small.clone()].to_vec()).collect();
    let mean = of_small.iter().sum::<f64>() / of_small.len() as f64;
    ensure!(mean.abs() < 3e-5 && (size(&of_small) - 1e-3).abs() < 2e-5, "noise {mean} ± {}", size(&of_small));
    println!("{:<10} {:>12} {:>14} {:>14}", "", "norm", "small, rms", "large, rms");
    for (name, values) in [("original", original), ("clipped", clipped), ("noisy", noisy)] {
        let [small, large] = [small.clone(), large.clone()].map(|columns| size(&half(values, columns)));
        println!("{name:<10} {:>12.4} {small:>14.3e} {large:>14.3e}", norm(values));
    }
    Ok(())
}

fn main() -> Result<()> {
    let args = Args::parse();
    let mut random = Pcg32::new(args.seed, 0);
    let gradients: Vec<f32> = (0..SAMPLES * DIMENSIONS)
        .map(|i| {
            let normal: f32 = StandardNormal.sample(&mut random);
            normal * if i % DIMENSIONS < DIMENSIONS / 2 { 0.01 } else { 100.0 }
        })
        .collect();
    let gpu = Gpu::new(GpuOptions::default())?;
    let clip = Transforms { clip_grad_norm: Some(ClipGradNorm::new(1.0)), ..Transforms::default() };
    let noise = Noise { eta: 1e-3, seed: args.seed, ..Noise::default() };
    let clipped = through(&gpu, clip, &gradients)?;
    let noisy = through(&gpu, Transforms { noise: Some(noise), ..Transforms::default() }, &gradients)?;
    check(&gradients, &clipped, &noisy)?;

    let original = Values { name: "original", color: COLORS[0], values: &gradients };
    let panels = [
        ("Gradients as they are", None),
        ("Clipped to a norm of 1", Some(Values { name: "clipped", color: COLORS[1], values: &clipped })),
        ("With noise", Some(Values { name: "with noise", color: COLORS[1], values: &noisy })),
    ];
    let line = "A thousand samples of a hundred gradients, half of them near 0.01 and half near 100.";
    let svg = sheet((880, 340), "What clipping and noise do to gradients", &[line], |body| {
        for (area, (heading, other)) in cells(body, 1, 3, 14)?.iter().zip(&panels) {
            let x = Scale::linear(-500.0..500.0, "gradient");
            let y = Scale::log(0.5..2e5, "count");
            let mut plot = panel(area, heading, (&x, &y), 8)?;
            let series: Vec<Values<'_>> = std::iter::once(&original).chain(other).copied().collect();
            histogram::draw(area, &mut plot, 50, &series)?;
        }
        Ok(())
    })?;
    save(&args.out, "safeguards.svg", &svg)
}
