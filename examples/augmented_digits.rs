//! Few images, and what random changes of them are worth: a network learns from 200 digits, once as they are and once
//! shifted and with a part cut out, anew in each step, on the device.
//!
//! 8x8 digits of UCI that `smartcore` carries. Rare classes are balanced by a weighted sampler.
//!
//! `cargo run --release --example augmented_digits`

#[path = "support/digits.rs"]
#[expect(dead_code, reason = "images of other sizes")]
mod digits;

use anyhow::{Result, ensure};
use gradus::graph::{Graph, Var};
use gradus::nn::{Conv2d, RandomCrop};
use gradus::optim::AdamW;
use gradus::schedule::OneCycleLR;
use gradus::train::data::{Batch, BatchSource, DataLoader, Dataset, TrainTestSplit, WeightedRandomSampler};
use gradus::{Gpu, GpuOptions};

const IMAGES: usize = 200;
const STEPS: u64 = 600;
const BATCH: usize = 40;

fn images(digits: &digits::Digits) -> Result<Dataset> {
    let pixels = digits.pixels.iter().map(|pixel| pixel / 16.0).collect();
    Ok(Dataset::new(pixels, &[1, 8, 8], digits.labels.iter().map(|&label| label.into()).collect(), 10)?)
}

/// The accuracy on unseen images after training with changes of `augment`.
fn train(gpu: &Gpu, train: &Dataset, test: &Dataset, augment: impl Fn(&Var) -> Var) -> Result<f64> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [BATCH, 1, 8, 8]), graph.labels("y", BATCH));
    let hidden = augment(&x).conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
    let hidden = hidden.conv2d(Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
    let logits = hidden.flatten().linear(10);
    let mut trainer = graph
        .trainer(&logits.cross_entropy(&y), AdamW::default())
        .schedule(OneCycleLR::new(0.01, STEPS))
        .metric("accuracy", &logits.accuracy(&y))
        .build(gpu)?;
    let sampler = WeightedRandomSampler::balanced(train.y(), 5)?;
    let mut batches = DataLoader::new(train, BATCH)?.sampler(sampler)?;
    let mut batch = Batch::default();
    while trainer.steps() < STEPS {
        if batches.next_batch(&mut batch)? {
            trainer.step(&[("x", &batch.x), ("y", &batch.y)])?;
        }
    }
    Ok(trainer.evaluate(&[("x", &test.numbers()), ("y", &test.y())], 120)?.metrics[0])
}

fn main() -> Result<()> {
    let [known, unseen] = digits::read()?;
    let (known, unseen) = (images(&known)?, images(&unseen)?);
    let few = TrainTestSplit::new(IMAGES).shuffle(2).split_stratified(known.y())?;
    let few = known.subset(&few.test)?;
    let gpu = Gpu::new(GpuOptions::default())?;
    let plain = train(&gpu, &few, &unseen, Var::clone)?;
    let shifted = |x: &Var| x.random_crop(RandomCrop::new(8).padding(1)).cutout(3);
    let augmented = train(&gpu, &few, &unseen, shifted)?;
    println!("{IMAGES} images, {STEPS} steps: accuracy on {} unseen ones", unseen.len());
    println!("as they are {plain:.4}, shifted and cut {augmented:.4}");
    ensure!(plain > 0.85 && augmented > plain, "random changes should help");
    Ok(())
}
