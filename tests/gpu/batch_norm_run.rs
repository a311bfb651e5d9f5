//! Fifty steps of a network with batch norm end where torch's do: weights, running statistics and what is evaluated with
//! them. `torch/batch_norm.py` says what the file holds.

use std::path::Path;

use gradus::graph::{Graph, Var};
use gradus::nn::{BatchNorm, Conv2d, Linear, Module};
use gradus::optim::SGD;
use gradus::params::Weights;

use crate::network::gpus;

const BATCH: usize = 8;
/// The run in f32 may end this far from the one in f64.
const TOLERANCE: f64 = 2e-4;

struct Net;

impl Module for Net {
    fn forward(&self, x: &Var) -> Var {
        let h = x.apply("conv1", &Conv2d::new(6, 3).padding(1).without_bias());
        let h = h.apply("bn1", &BatchNorm::new()).relu().apply("conv2", &Conv2d::new(8, 3).stride(2));
        h.apply("bn2", &BatchNorm::new().momentum(0.3)).relu().flatten().apply("fc", &Linear::new(4))
    }
}

#[expect(clippy::cast_possible_truncation, reason = "rounded to f32")]
fn images(step: usize) -> Vec<f32> {
    (0..BATCH * 2 * 6 * 6)
        .map(|i| (((7919 * i + 104_729 * step) % 1009) as f64 / 1009.0 - 0.5) as f32)
        .collect()
}

fn labels(step: usize) -> Vec<u32> {
    (0..8u32).map(|i| (31 * i + u32::try_from(step).unwrap()) % 4).collect()
}

#[test]
fn statistics_weights_and_evaluation_are_those_of_torch() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gpu/torch/batch_norm.safetensors");
    let file = Weights::read(file).unwrap();
    let (first, last) = (file.clone().part("first").unwrap(), file.clone().part("last").unwrap());
    for gpu in gpus() {
        let graph = Graph::new();
        let (x, y) = (graph.input("x", [BATCH, 2, 6, 6]), graph.labels("y", BATCH));
        let logits = x.apply("", &Net);
        let rule = SGD { lr: 0.1, momentum: 0.9, ..SGD::default() };
        let mut trainer = graph.trainer(&logits.cross_entropy(&y), rule).build(&gpu).unwrap();
        let report = trainer.params_mut().load_state_dict(&first, true).unwrap();
        assert_eq!((report.loaded.len(), report.missing_keys.len()), (last.len(), 0));
        for step in 0..50 {
            trainer.step(&[("x", &images(step)), ("y", &labels(step))]).unwrap();
        }
        let ours = trainer.params().read_weights().unwrap();
        assert_eq!(ours.names().collect::<Vec<_>>(), last.names().collect::<Vec<_>>());
        let mut evaluated = Weights::new();
        let values = trainer.predict(&logits, &[("x", &images(50))], BATCH).unwrap();
        evaluated.insert("logits", [BATCH, 4], values).unwrap();
        let pairs = ours.iter().map(|(name, ours)| (name, ours, last.get(name).unwrap()));
        let logits = ("logits", evaluated.get("logits").unwrap(), file.get("logits").unwrap());
        for (name, ours, torch) in pairs.chain([logits]) {
            assert_eq!(ours.shape, torch.shape, "{name}");
            for (at, (ours, torch)) in ours.values.iter().zip(&torch.values).enumerate() {
                let (ours, torch) = (f64::from(*ours), f64::from(*torch));
                let apart = (ours - torch).abs();
                assert!(apart <= TOLERANCE * torch.abs().max(1.0), "{name}[{at}]: {ours}, torch {torch}");
            }
        }
    }
}
