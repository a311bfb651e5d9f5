//! Running statistics: averaged, as they are, and taken anew for averaged weights.

use gradus::graph::{Graph, Var};
use gradus::nn::{BatchNorm, Linear};
use gradus::optim::{AnyRule, Averages, Ema, SGD, Swa};
use gradus::train::Trainer;
use gradus::{Error, Gpu};

use super::ByHand;
use crate::common::{bits, gpu, noises};

const NAMES: [&str; 2] = ["bn.running_mean", "bn.running_var"];

fn network(momentum: Option<f64>) -> (Graph, Var, Var) {
    let graph = Graph::new();
    let x = graph.input("x", [8, 5]);
    let h = x.linear(Linear::new(6).name("a")).dropout(0.0);
    let h = h.batch_norm1d(BatchNorm::new().momentum(momentum).name("bn"));
    let y = h.relu().linear(Linear::new(3).name("b"));
    let loss = y.mean();
    (graph, loss, y)
}

fn trainer(gpu: &Gpu, momentum: Option<f64>, averages: impl Into<Averages>) -> (Trainer<SGD>, Var) {
    let (graph, loss, y) = network(momentum);
    let rule = SGD { lr: 0.1, ..SGD::default() };
    (graph.trainer(&loss, rule).averages(averages).build(gpu).unwrap(), y)
}

fn train<R: AnyRule + Clone>(trainer: &mut Trainer<R>, steps: std::ops::Range<u64>) {
    for step in steps {
        trainer.step(&[("x", &noises(step, 40))]).unwrap();
    }
}

fn statistics<R: AnyRule + Clone>(trainer: &Trainer<R>) -> Vec<f32> {
    NAMES.iter().flat_map(|name| trainer.params().read(name).unwrap()).collect()
}

#[test]
fn buffers_are_averaged_or_go_along() {
    let Some(gpu) = gpu() else { return };
    let averages = Averages::from(Ema { use_buffers: true, start: 1, ..Ema::new(0.75) });
    let (mut with, _) = trainer(&gpu, Some(0.1), averages.clone());
    let (mut along, _) = trainer(&gpu, Some(0.1), Ema { start: 1, ..Ema::new(0.75) });
    let mut hand = ByHand::new(&averages, &statistics(&with));
    let mut of_weights = None;
    for step in 0..7 {
        let before = gpu.counters();
        train(&mut with, step..step + 1);
        let one = gpu.counters().since(&before).dispatches;
        train(&mut along, step..step + 1);
        let other = gpu.counters().since(&before).dispatches - one;
        assert_eq!(one, other + 1, "a dispatch for the buffers");
        hand.update(&statistics(&with));
        let read = with.read_averages().unwrap();
        let got: Vec<f32> = NAMES.iter().flat_map(|name| read.get(name).unwrap().values.clone()).collect();
        if step > 0 {
            assert!(hand.distance(&got) < 1e-6, "step {step}");
        } else {
            assert_eq!(got, statistics(&with), "until an update has entered");
        }
        let plain = along.read_averages().unwrap();
        for name in NAMES {
            assert_eq!(plain.get(name).unwrap().values, along.params().read(name).unwrap());
        }
        let seen = with.with_averages(|with| Ok::<_, Error>(statistics(with))).unwrap();
        assert_eq!(bits(&seen), bits(&got));
        assert!(step < 2 || statistics(&with) != got, "those of the weights are back");
        of_weights = Some(statistics(&with));
    }
    assert_eq!(of_weights.unwrap(), statistics(&along));
}

/// Means over batches of the means and unbiased variances of a layer's inputs.
fn means_of(trainer: &Trainer<SGD>, x: &[f32], batch: usize) -> Vec<f64> {
    let (w, b) = (trainer.params().read("a.weight").unwrap(), trainer.params().read("a.bias").unwrap());
    let at = |row: &[f32], unit: usize| -> f64 {
        let products = row.iter().zip(&w[5 * unit..5 * unit + 5]);
        products.map(|(x, w)| f64::from(*x) * f64::from(*w)).sum::<f64>() + f64::from(b[unit])
    };
    let batches: Vec<&[f32]> = x.chunks(5 * batch).collect();
    let mut means = vec![0.0; 12];
    for rows in &batches {
        let n = (rows.len() / 5) as f64;
        for unit in 0..6 {
            let values: Vec<f64> = rows.chunks(5).map(|row| at(row, unit)).collect();
            let mean = values.iter().sum::<f64>() / n;
            let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (n - 1.0);
            means[unit] += mean / batches.len() as f64;
            means[6 + unit] += variance / batches.len() as f64;
        }
    }
    means
}

#[test]
fn statistics_are_taken_anew_for_the_averages() {
    let Some(gpu) = gpu() else { return };
    for momentum in [Some(0.1), Some(1.0), None] {
        let (mut looked, y) = trainer(&gpu, momentum, Swa { start: 2, ..Swa::default() });
        let (mut never, _) = trainer(&gpu, momentum, Swa { start: 2, ..Swa::default() });
        let x = noises(500, 5 * 21);
        for step in 0..6 {
            train(&mut looked, step..step + 1);
            train(&mut never, step..step + 1);
            let before = statistics(&looked);
            let (taken, means, predicted, batches) = looked
                .with_averages(|trainer| {
                    trainer.update_bn(&[("x", &x)], 8)?;
                    let predicted = trainer.predict(&y, &[("x", &x)], 8)?;
                    let batches = trainer.params().read("bn.num_batches_tracked")?;
                    Ok::<_, Error>((statistics(trainer), means_of(trainer, &x, 8), predicted, batches))
                })
                .unwrap();
            for (got, want) in taken.iter().zip(&means) {
                assert!(
                    (f64::from(*got) - want).abs() < 1e-5,
                    "{momentum:?}, step {step}: {got}, expected {want}"
                );
            }
            assert_eq!(batches, [3.0], "two batches and a rest");
            assert!(predicted.iter().all(|y| y.is_finite()));
            assert_eq!(statistics(&looked), before);
        }
        assert_eq!(looked.read_checkpoint().unwrap(), never.read_checkpoint().unwrap());
        // For the weights themselves.
        looked.update_bn(&[("x", &x)], 7).unwrap();
        for (got, want) in statistics(&looked).iter().zip(means_of(&looked, &x, 7)) {
            assert!((f64::from(*got) - want).abs() < 1e-5);
        }
        // A rest of one sample has no variance.
        let kept = statistics(&looked);
        assert!(matches!(looked.update_bn(&[("x", &x)], 20), Err(Error::Shape { .. })));
        assert!(matches!(looked.update_bn(&[("x", &x)], 0), Err(Error::Constant { .. })));
        assert_eq!(statistics(&looked), kept);
    }
}
