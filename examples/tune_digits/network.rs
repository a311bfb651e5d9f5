//! The digits, and the network that learns them.

use anyhow::Result;
use gradus::Gpu;
use gradus::graph::Graph;
use gradus::nn::Conv2d;
use gradus::optim::AdamW;
use gradus::train::Trainer;
use gradus::train::data::{Dataset, stratified_split};

use crate::digits::{self, SIDE};

const BATCH: usize = 64;
const VALIDATION: usize = 360;
/// A loss that is as bad as any: of no use is what is worse, or has diverged.
const WORST: f64 = 10.0;

/// What a network came to on the digits that it was chosen by.
#[derive(Clone, Copy)]
pub(crate) struct Outcome {
    pub(crate) loss: f64,
    pub(crate) accuracy: f64,
}

/// Digits to learn from, to choose by, and to be asked for in the end.
pub(crate) struct Data {
    train: Dataset,
    validation: Dataset,
    test: Dataset,
}

impl Data {
    pub(crate) fn read() -> Result<Self> {
        let [train, test] = digits::read()?.map(|digits| {
            let pixels = digits.pixels.iter().map(|pixel| pixel / 8.0 - 1.0).collect();
            let labels = digits.labels.iter().map(|&label| label.into()).collect();
            Dataset::new(pixels, &[1, SIDE, SIDE], labels, 10)
        });
        let (train, test) = (train?, test?);
        let (learnt, kept) = stratified_split(train.y(), VALIDATION)?;
        Ok(Self { validation: train.subset(&kept)?, train: train.subset(&learnt)?, test })
    }

    /// Trains with a learning rate and a weight decay, and evaluates on what was not learnt.
    pub(crate) fn train(&self, gpu: &Gpu, rates: (f64, f64), epochs: u64) -> Result<Outcome> {
        let mut trainer = self.learn(gpu, rates, epochs)?;
        let (x, y) = (self.validation.numbers(), self.validation.y());
        let evaluation = trainer.evaluate(&[("x", &x), ("y", &y)], VALIDATION)?;
        let loss = if evaluation.loss < WORST { evaluation.loss } else { WORST };
        Ok(Outcome { loss, accuracy: evaluation.metrics[0] })
    }

    /// The accuracy on digits by which nothing was chosen.
    pub(crate) fn test(&self, gpu: &Gpu, rates: (f64, f64), epochs: u64) -> Result<f64> {
        let mut trainer = self.learn(gpu, rates, epochs)?;
        let (x, y) = (self.test.numbers(), self.test.y());
        Ok(trainer.evaluate(&[("x", &x), ("y", &y)], self.test.len())?.metrics[0])
    }

    fn learn(&self, gpu: &Gpu, (lr, weight_decay): (f64, f64), epochs: u64) -> Result<Trainer<AdamW>> {
        let graph = Graph::new();
        let (x, y) = (graph.input("x", [BATCH, 1, SIDE, SIDE]), graph.labels("y", BATCH));
        let h = x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
        let h = h.conv2d(Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
        let logits = h.flatten().linear(64).relu().linear(10);
        let rule = AdamW { lr, weight_decay, ..AdamW::default() };
        let builder = graph.trainer(&logits.cross_entropy(&y), rule).metric("accuracy", &logits.accuracy(&y));
        let mut trainer = builder.seed(1).build(gpu)?;
        for epoch in 0..epochs {
            for batch in self.train.shuffled(1, epoch).batches(BATCH)? {
                trainer.step(&[("x", &batch.x), ("y", &batch.y)])?;
            }
        }
        Ok(trainer)
    }
}
