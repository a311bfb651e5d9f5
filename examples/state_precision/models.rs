//! Two small networks and what they learn.

use anyhow::Result;
use gradus::graph::{Graph, Var};
use gradus::nn::{Conv2d, Embedding, LayerNorm, Linear, MultiheadAttention};
use gradus::optim::AdamW;
use gradus::train::{Trainer, TrainerBuilder};

use crate::digits;

const TEXT: &str = include_str!("../train_transformer/text.txt");
const BATCH: usize = 64;
const LINES: usize = 16;
const CONTEXT: usize = 32;
const WIDTH: usize = 64;

#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Task {
    Cnn,
    Characters,
}

/// Images and their classes, or the numbers of a text's characters.
pub(crate) struct Data {
    numbers: Vec<f32>,
    labels: Vec<u32>,
    kinds: usize,
}

impl Data {
    pub(crate) fn of(task: Task) -> Result<Self> {
        if task == Task::Cnn {
            let [train, _] = digits::read()?;
            let numbers = train.pixels.iter().map(|pixel| pixel / 8.0 - 1.0).collect();
            return Ok(Self {
                numbers,
                labels: train.labels.iter().map(|&label| label.into()).collect(),
                kinds: 10,
            });
        }
        let kinds: std::collections::BTreeSet<char> = TEXT.chars().collect();
        let places: std::collections::HashMap<char, u32> = kinds.iter().copied().zip(0..).collect();
        let labels = TEXT.chars().map(|character| places[&character]).collect();
        Ok(Self { numbers: Vec::new(), labels, kinds: kinds.len() })
    }

    /// Where the samples of each batch of an epoch begin: twice the same, so that a step has both.
    pub(crate) fn batches(&self, task: Task, seed: u64, epoch: u64) -> Vec<(Vec<f32>, Vec<u32>)> {
        let mut random = (seed << 32) ^ epoch ^ 0x9e37_79b9;
        let mut below = |most: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % most
        };
        let mut batch = |_| match task {
            Task::Cnn => {
                let side = digits::SIDE * digits::SIDE;
                let samples: Vec<usize> = (0..BATCH).map(|_| below(self.labels.len())).collect();
                let image = |&at: &usize| self.numbers[at * side..(at + 1) * side].iter().copied();
                (
                    samples.iter().flat_map(image).collect(),
                    samples.iter().map(|&at| self.labels[at]).collect(),
                )
            }
            Task::Characters => {
                let starts: Vec<usize> = (0..LINES).map(|_| below(self.labels.len() - CONTEXT - 1)).collect();
                // One more than the context: what is seen, and what is next.
                (Vec::new(), starts.iter().flat_map(|&at| self.labels[at..=at + CONTEXT].to_vec()).collect())
            }
        };
        (0..task.steps()).map(&mut batch).collect()
    }

    pub(crate) fn step(&self, task: Task, trainer: &mut Trainer<AdamW>, x: &[f32], y: &[u32]) -> Result<()> {
        if task == Task::Cnn {
            return Ok(trainer.step(&[("x", &x), ("y", &y)])?);
        }
        let of = |from: usize| -> Vec<u32> {
            y.chunks(CONTEXT + 1).flat_map(|line| line[from..from + CONTEXT].to_vec()).collect()
        };
        Ok(trainer.step(&[("x", &of(0)), ("y", &of(1))])?)
    }
}

impl Task {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Cnn => "cnn",
            Self::Characters => "characters",
        }
    }

    pub(crate) fn epochs(self) -> usize {
        match self {
            Self::Cnn => 8,
            Self::Characters => 8,
        }
    }

    /// Of an epoch.
    fn steps(self) -> usize {
        match self {
            Self::Cnn => 22,
            Self::Characters => 25,
        }
    }

    pub(crate) fn lr(self) -> f64 {
        match self {
            Self::Cnn => 1e-3,
            Self::Characters => 3e-3,
        }
    }

    pub(crate) fn trainer(self, data: &Data, rule: AdamW) -> TrainerBuilder<AdamW> {
        let graph = Graph::new();
        let loss = match self {
            Self::Cnn => {
                let (x, y) =
                    (graph.input("x", [BATCH, 1, digits::SIDE, digits::SIDE]), graph.labels("y", BATCH));
                let h = x.conv2d(Conv2d::new(16, 3).padding(1)).relu().max_pool2d(2);
                let h = h.conv2d(Conv2d::new(32, 3).padding(1)).relu().max_pool2d(2);
                h.flatten().linear(64).relu().linear(data.kinds).cross_entropy(&y)
            }
            Self::Characters => {
                let (x, y) = (graph.labels("x", [LINES, CONTEXT]), graph.labels("y", [LINES, CONTEXT]));
                let logits = transformer(&x, data.kinds);
                logits.permute(&[0, 2, 1]).cross_entropy(&y)
            }
        };
        graph.trainer(&loss, rule)
    }
}

fn transformer(tokens: &Var, kinds: usize) -> Var {
    let mut h = tokens.apply("tok_emb", &Embedding::new(kinds, WIDTH));
    for block in 0..2 {
        let attention = MultiheadAttention::new(WIDTH, 4).batch_first(true).is_causal(true);
        let normed = h.apply(&format!("{block}.ln1"), &LayerNorm::new(WIDTH));
        h = &h + &normed.multihead_attention(&normed, &normed, attention);
        let normed = h.apply(&format!("{block}.ln2"), &LayerNorm::new(WIDTH));
        let up = normed.apply(&format!("{block}.up"), &Linear::new(4 * WIDTH)).gelu();
        h = &h + &up.apply(&format!("{block}.down"), &Linear::new(WIDTH));
    }
    h.apply("ln_f", &LayerNorm::new(WIDTH)).apply("head", &Linear::new(kinds))
}
