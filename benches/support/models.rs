//! The examples' models with their default sizes, and a batch for each.

use anyhow::Result;
use gradus::graph::{Graph, HostData, Var};
use gradus::nn::{Conv2d, Linear};
use gradus::params::Weights;

use crate::model::{self, Model as Images};
use crate::rnn::Cell;
use crate::transformer::Transformer;
use crate::{mlp, rnn};

pub(crate) struct Model {
    pub(crate) name: &'static str,
    /// Of its batch.
    sizes: &'static str,
    /// Whether gradients are clipped to a norm of 1, as the example does.
    pub(crate) clips: bool,
    /// Its loss, and a batch.
    pub(crate) build: fn(&Graph) -> (Var, Batch),
}

impl Model {
    pub(crate) fn title(&self) -> String {
        format!("{} ({})", self.name, self.sizes)
    }
}

const DIGITS: &str = "32 images of 8x8";
const SEQUENCES: &str = "64 sequences of 30 steps";

pub(crate) const MODELS: [Model; 10] = [
    Model {
        name: "reference-cnn",
        sizes: "64 images of 28x28",
        clips: false,
        build: |graph| reference(graph, 64),
    },
    Model {
        name: "reference-cnn-16",
        sizes: "16 images of 28x28",
        clips: false,
        build: |graph| reference(graph, 16),
    },
    Model { name: "cnn", sizes: DIGITS, clips: false, build: |graph| images(graph, Images::Cnn) },
    Model { name: "wide-cnn", sizes: DIGITS, clips: false, build: |graph| images(graph, Images::WideCnn) },
    Model { name: "resnet", sizes: DIGITS, clips: false, build: |graph| images(graph, Images::Resnet) },
    Model { name: "mlp", sizes: "32 images of 28x28", clips: false, build: mlp },
    Model { name: "rnn", sizes: SEQUENCES, clips: true, build: |graph| sums(graph, Cell::Rnn) },
    Model { name: "lstm", sizes: SEQUENCES, clips: true, build: |graph| sums(graph, Cell::Lstm) },
    Model { name: "gru", sizes: SEQUENCES, clips: true, build: |graph| sums(graph, Cell::Gru) },
    Model { name: "transformer", sizes: "16 texts of 64 characters", clips: true, build: transformer },
];

/// The inputs `x` and `y` of a step.
pub(crate) struct Batch {
    x: (Vec<usize>, Values),
    y: (Vec<usize>, Values),
}

enum Values {
    Numbers(Vec<f32>),
    Labels(Vec<u32>),
}

impl Values {
    fn data(&self) -> &dyn HostData {
        match self {
            Self::Numbers(numbers) => numbers,
            Self::Labels(labels) => labels,
        }
    }
}

impl Batch {
    pub(crate) fn data(&self) -> [(&str, &dyn HostData); 2] {
        [("x", self.x.1.data()), ("y", self.y.1.data())]
    }

    /// As tensors, labels as numbers.
    pub(crate) fn weights(&self) -> Result<Weights> {
        let mut weights = Weights::new();
        for (name, (shape, values)) in [("x", &self.x), ("y", &self.y)] {
            let values = match values {
                Values::Numbers(numbers) => numbers.clone(),
                #[expect(clippy::cast_precision_loss, reason = "a class")]
                Values::Labels(labels) => labels.iter().map(|label| *label as f32).collect(),
            };
            weights.insert(name, shape.clone(), values)?;
        }
        Ok(weights)
    }
}

/// Evenly spread in `[0, 1)`, the same everywhere.
fn numbers(count: usize) -> Vec<f32> {
    (1..=count).map(|at| (at * 7919 % 10007) as f32 / 10007.0).collect()
}

fn labels(count: usize, classes: u32) -> Vec<u32> {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "below the classes")]
    let label = |number: f32| (number * classes as f32) as u32;
    numbers(count).into_iter().map(label).collect()
}

const IMAGES: usize = 32;

/// Cross-entropy of logits of ten classes of images of one channel.
fn classify(graph: &Graph, images: usize, side: usize, logits: impl Fn(&Var) -> Var) -> (Var, Batch) {
    let shape = [images, 1, side, side];
    let (x, y) = (graph.input("x", shape), graph.labels("y", images));
    let pixels = numbers(shape.iter().product()).into_iter().map(|pixel| 2.0 * pixel - 1.0).collect();
    let batch = Batch {
        x: (shape.into(), Values::Numbers(pixels)),
        y: (vec![images], Values::Labels(labels(images, 10))),
    };
    (logits(&x).cross_entropy(&y), batch)
}

/// The network of `benches/step.rs`.
fn reference(graph: &Graph, images: usize) -> (Var, Batch) {
    classify(graph, images, 28, |x| {
        let conv = |h: &Var, name, channels| {
            h.apply(name, &Conv2d::new(channels, 3).padding(1)).relu().max_pool2d(2)
        };
        let h = conv(&conv(x, "conv1", 16), "conv2", 32);
        h.flatten().apply("fc1", &Linear::new(128)).relu().apply("fc2", &Linear::new(10))
    })
}

fn images(graph: &Graph, model: Images) -> (Var, Batch) {
    classify(graph, IMAGES, 8, |x| model::logits(model, x, 10))
}

fn mlp(graph: &Graph) -> (Var, Batch) {
    classify(graph, IMAGES, 28, |x| mlp::logits(x, 10))
}

/// The mean squared error of two layers of 32 units.
fn sums(graph: &Graph, cell: Cell) -> (Var, Batch) {
    let (samples, steps) = (64, 30);
    let (x, y) = (graph.input("x", [samples, steps, 2]), graph.input("y", [samples, 1]));
    let batch = Batch {
        x: (vec![samples, steps, 2], Values::Numbers(numbers(samples * steps * 2))),
        y: (vec![samples, 1], Values::Numbers(numbers(samples))),
    };
    (x.apply("", &rnn::Network { cell, hidden: 32 }).mse_loss(&y), batch)
}

/// Cross-entropy of the next character, of 60.
fn transformer(graph: &Graph) -> (Var, Batch) {
    let (texts, context, kinds) = (16, 64, 60);
    let (x, y) = (graph.labels("x", [texts, context]), graph.labels("y", [texts, context]));
    let model = Transformer { width: 64, layers: 2, heads: 4, context, dropout: 0.0, kinds };
    let characters = labels(texts * context + 1, 60);
    let batch = Batch {
        x: (vec![texts, context], Values::Labels(characters[..texts * context].to_vec())),
        y: (vec![texts, context], Values::Labels(characters[1..].to_vec())),
    };
    (x.apply("", &model).permute(&[0, 2, 1]).cross_entropy(&y), batch)
}
