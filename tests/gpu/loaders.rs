//! Steps on what loaders give: from the host and from the device, in order and prefetched, with labels and with numbers.

use std::sync::Arc;

use gradus::Gpu;
use gradus::graph::{Graph, HostData};
use gradus::optim::SGD;
use gradus::train::Trainer;
use gradus::train::data::{
    BatchSource, DataLoader, Dataset, Inputs, Position, Prefetch, ResidentLoader, WeightedRandomSampler,
};

use crate::common::{bits, noises};
use crate::network::gpus;

const SAMPLES: usize = 23;

/// A classifier, or a network with two outputs.
fn network(gpu: &Gpu, labels: bool) -> Trainer<SGD> {
    let graph = Graph::new();
    let logits = graph.input("x", [4, 5]).linear(6).tanh().linear(if labels { 3 } else { 2 });
    let loss = match labels {
        true => logits.cross_entropy(&graph.labels("y", 4)),
        false => logits.mse_loss(&graph.input("y", [4, 2])),
    };
    graph.trainer(&loss, SGD { lr: 0.1, ..SGD::default() }).build(gpu).unwrap()
}

/// Takes `batches` batches, and returns the losses and the parameters.
fn train<S: BatchSource>(trainer: &mut Trainer<SGD>, mut source: S, batches: usize) -> (Vec<f32>, Vec<f32>)
where
    S::Batch: Inputs,
{
    let (mut batch, mut losses) = (S::Batch::default(), Vec::new());
    while losses.len() < batches {
        if source.next_batch(&mut batch).unwrap() {
            let inputs = batch.inputs();
            let data: Vec<(&str, &dyn HostData)> =
                inputs.iter().map(|(name, data)| (*name, data as _)).collect();
            trainer.step(&data).unwrap();
            losses.push(trainer.read_loss().unwrap());
        }
    }
    let checkpoint = trainer.read_checkpoint().unwrap();
    (losses, checkpoint.params.into_values().flat_map(|tensor| tensor.values).collect())
}

fn check<Y: gradus::train::data::Target>(gpu: &Gpu, data: Dataset<Y>, labels: bool) {
    let data = Arc::new(data);
    let host = || DataLoader::new(data.clone(), 4).unwrap().shuffle(3);
    let expected = train(&mut network(gpu, labels), host(), 14);
    let prefetched = train(&mut network(gpu, labels), Prefetch::new(host(), 3).unwrap(), 14);
    let resident = data.to_device(gpu).unwrap();
    let loader = ResidentLoader::new(&resident, 4).unwrap().shuffle(3);
    let on_device = train(&mut network(gpu, labels), loader, 14);
    for (losses, params) in [&prefetched, &on_device] {
        assert_eq!((bits(losses), bits(params)), (bits(&expected.0), bits(&expected.1)));
    }
    // In the middle of the second epoch, from another source to the other.
    let mut trainer = network(gpu, labels);
    train(&mut trainer, host(), 8);
    let at = Position { epoch: 1, batch: 2 };
    let mut rest = ResidentLoader::new(&resident, 4).unwrap().shuffle(3);
    rest.seek(at).unwrap();
    let (losses, params) = train(&mut trainer, rest, 6);
    assert_eq!((bits(&losses), bits(&params)), (bits(&expected.0[8..]), bits(&expected.1)));
    // Samplers that repeat samples.
    let weights = || WeightedRandomSampler::new((1..=SAMPLES).map(|at| at as f64).collect(), 40, 8).unwrap();
    let drawn = train(&mut network(gpu, labels), host().sampler(weights()).unwrap(), 14);
    let loader = ResidentLoader::new(&resident, 4).unwrap().sampler(weights()).unwrap();
    assert_eq!(train(&mut network(gpu, labels), loader, 14), drawn);
}

#[test]
fn host_device_and_thread_give_the_same_steps() {
    let x = noises(5, SAMPLES * 5);
    for gpu in gpus() {
        let labels = (0..SAMPLES).map(|at| u32::try_from(at % 3).unwrap()).collect();
        check(&gpu, Dataset::new(x.clone(), &[5], labels, 3).unwrap(), true);
        check(&gpu, Dataset::regression(x.clone(), &[5], noises(6, SAMPLES * 2), &[2]).unwrap(), false);
        let bytes: Vec<u8> = (0..SAMPLES * 5).map(|at| (at * 37).to_le_bytes()[0]).collect();
        check(&gpu, Dataset::regression(bytes, &[5], noises(6, SAMPLES * 2), &[2]).unwrap(), false);
    }
}
