//! Training on threads of its own.

use std::thread;

use gradus::graph::{Graph, Var};
use gradus::optim::{AdamW, LBFGS, Rule, SGD};
use gradus::schedule::OneCycleLR;
use gradus::train::Trainer;
use gradus::{Error, Gpu, ParamStore};

use crate::common::{bits, gpu, noises};

fn network(width: usize) -> (Graph, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [8, 5]), graph.labels("y", 8));
    let loss = x.linear(width).relu().dropout(0.2).linear(3).cross_entropy(&y);
    (graph, loss)
}

fn trainer(gpu: &Gpu, seed: u64) -> Trainer<AdamW> {
    let (graph, loss) = network(16 + usize::try_from(seed).unwrap());
    let builder = graph.trainer(&loss, AdamW::default()).schedule(OneCycleLR::new(1e-2, 40));
    builder.seed(seed).clip_grad_norm(1.0).build(gpu).unwrap()
}

/// The bits that a trainer ends with, and its losses.
fn train(mut trainer: Trainer<AdamW>, stream: u64) -> (Vec<u32>, Vec<u32>) {
    let mut losses = Vec::new();
    for step in 0..30 {
        let x = noises(stream + step, 8 * 5);
        let y: Vec<u32> = (0..8).map(|i| u32::try_from((i + step) % 3).unwrap()).collect();
        trainer.step(&[("x", &x), ("y", &y)]).unwrap();
        while let Some(report) = trainer.poll().unwrap() {
            losses.push(report.loss);
        }
    }
    while let Some(report) = trainer.read_report().unwrap() {
        losses.push(report.loss);
    }
    assert_eq!(losses.len(), 30);
    (bits(&trainer.params().params().read_all(trainer.params().gpu()).unwrap()), bits(&losses))
}

#[test]
fn two_trainers_on_two_threads_end_as_one_after_the_other() {
    let (Some(gpu), Some(other)) = (gpu(), gpu()) else { return };
    let expected = [0, 1].map(|seed| train(trainer(&gpu, seed), 100 * seed));
    assert_ne!(expected[0].1, expected[1].1);
    // On one device, and on two.
    for gpus in [[&gpu, &gpu], [&gpu, &other]] {
        let both = [0, 1].map(|seed| {
            let trainer = trainer(gpus[usize::try_from(seed).unwrap()], seed);
            thread::spawn(move || train(trainer, 100 * seed))
        });
        assert_eq!(both.map(|thread| thread.join().unwrap()), expected);
    }
    // Built and used on a thread, while another waits for its own without blocking.
    let mut mine = trainer(&gpu, 1);
    let shared = gpu.clone();
    let theirs = thread::spawn(move || train(trainer(&shared, 0), 0));
    for step in 0..30 {
        let x = noises(100 + step, 8 * 5);
        let y: Vec<u32> = (0..8).map(|i| u32::try_from((i + step) % 3).unwrap()).collect();
        pollster::block_on(mine.step_async(&[("x", &x), ("y", &y)])).unwrap();
        pollster::block_on(mine.read_report_async()).unwrap().unwrap();
    }
    assert_eq!(theirs.join().unwrap(), expected[0]);
    let ends = bits(&mine.params().params().read_all(&gpu).unwrap());
    assert_eq!(ends, expected[1].0);
}

#[test]
fn optimizers_go_from_thread_to_thread() {
    let Some(gpu) = gpu() else { return };
    let store = || ParamStore::builder().tensor("w", [3], &[1.0, -2.0, 0.5]).build(&gpu).unwrap();
    let (mut params, mut moved) = (store(), store());
    let mut optimizer = SGD { lr: 0.1, momentum: 0.9, ..Default::default() }.build(&params).unwrap();
    let mut travels = SGD { lr: 0.1, momentum: 0.9, ..Default::default() }.build(&moved).unwrap();
    for step in 0..4 {
        let gradient = noises(step, 3);
        params.write_grads(&gradient).unwrap();
        optimizer.step(&mut params).unwrap();
        let step = move || -> Result<_, Error> {
            moved.write_grads(&gradient)?;
            travels.step(&mut moved)?;
            Ok((moved, travels))
        };
        (moved, travels) = thread::spawn(step).join().unwrap().unwrap();
    }
    // Reads from several threads at once.
    let expected = bits(&params.read("w").unwrap());
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                assert_eq!(bits(&moved.read("w").unwrap()), expected);
                assert_eq!(travels.read_state_dict().unwrap(), optimizer.read_state_dict().unwrap());
            });
        }
    });
    let mut lbfgs = LBFGS::default().build(&params).unwrap();
    let step = move || {
        lbfgs.step(&mut params, |params| -> Result<f64, Error> {
            let w = params.read("w")?;
            params.write_grads(&w)?;
            Ok(w.iter().map(|w| 0.5 * f64::from(*w).powi(2)).sum())
        })
    };
    assert!(thread::spawn(step).join().unwrap().unwrap().last_loss < 1e-6);
}
