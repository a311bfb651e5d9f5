//! Training with activations of f16: gradients, skipped steps, checkpoints, and how far runs get.

use gradus::grad::{GradScaler, Transforms};
use gradus::graph::{Dtype, Graph, HostData, PlanOptions};
use gradus::nn::{Conv2d, Linear};
use gradus::optim::{AdamW, SGD};
use gradus::train::Trainer;
use gradus::{Error, Gpu};

use super::half_gpus;
use crate::common::noises;
use crate::example::{built, done, stdout};
use crate::network::run;

fn scaled(scaler: GradScaler) -> Transforms {
    Transforms { grad_scaler: Some(scaler), ..Transforms::default() }
}

/// Of a small network of convolutions, under autocast, and with a scaler if there is one.
pub(super) fn trainer(gpu: &Gpu, scaler: Option<GradScaler>) -> Result<Trainer<AdamW>, Error> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [4, 1, 6, 6]), graph.labels("y", 4));
    let h = x.conv2d(Conv2d::new(5, 3).name("conv")).relu().max_pool2d(2).flatten().dropout(0.1);
    let logits = h.linear(Linear::new(7).name("hidden")).relu().linear(Linear::new(3).name("head"));
    let builder = graph.trainer(&logits.cross_entropy(&y), AdamW { lr: 1e-2, ..AdamW::default() });
    let transforms = scaler.map(scaled).unwrap_or_default();
    builder.transforms(transforms).seed(3).autocast(Dtype::F16).build(gpu)
}

fn train(trainer: &mut Trainer<AdamW>, steps: std::ops::Range<u64>) {
    for step in steps {
        let x = noises(step, 4 * 36);
        trainer.step(&[("x", &x), ("y", &vec![0, 1, 2, 1])]).unwrap();
    }
}

/// Along a direction, the gradient is the difference of the loss in f32, within what f16 rounds.
#[test]
fn gradients_are_the_differences_of_the_loss() {
    for gpu in half_gpus() {
        let graph = Graph::new();
        let (x, y) = (graph.input("x", [6, 2, 8, 8]), graph.labels("y", 6));
        let h = x.conv2d(Conv2d::new(8, 3).padding(1)).gelu().avg_pool2d(2).batch_norm2d(Default::default());
        let loss = h.conv2d(Conv2d::new(6, 3).groups(2)).flatten().layer_norm(24).linear(16).tanh().linear(4);
        let loss = loss.cross_entropy(&y);
        let (data, labels) = (noises(1, 6 * 128), vec![0_u32, 3, 2, 1, 1, 0]);
        let inputs: [(&str, &dyn HostData); 2] = [("x", &data), ("y", &labels)];
        let params = graph.store(&gpu, 1).unwrap();
        let names: Vec<String> = graph.parameters().into_iter().map(|parameter| parameter.name).collect();
        let values: Vec<Vec<f32>> = names.iter().map(|name| params.read(name).unwrap()).collect();
        let options = PlanOptions::train(&loss);
        let at = |options: &PlanOptions, step: f32, along: usize| {
            let moved = |(number, values): (usize, &Vec<f32>)| -> Vec<f32> {
                let direction = noises(50 + number as u64, values.len());
                let by = if number == along { step } else { 0.0 };
                values.iter().zip(direction).map(|(value, along)| value + by * along).collect()
            };
            let moved: Vec<Vec<f32>> = values.iter().enumerate().map(moved).collect();
            let moved: Vec<(&str, &[f32])> =
                names.iter().map(|name| &name[..]).zip(moved.iter().map(|v| &v[..])).collect();
            run(&gpu, &graph, options, &moved, &inputs, &["loss"])
        };
        let cast = at(&options.clone().autocast(Dtype::F16), 0.0, 0);
        for (number, name) in names.iter().enumerate() {
            let direction = noises(50 + number as u64, values[number].len());
            let slope: f32 = cast.gradients[name].iter().zip(&direction).map(|(g, d)| g * d).sum();
            let norm: f32 = cast.gradients[name].iter().map(|g| g * g).sum::<f32>().sqrt();
            let size: f32 = direction.iter().map(|d| d * d).sum::<f32>().sqrt();
            let step = 5e-3;
            let [before, after] = [-step, step].map(|step| at(&options, step, number).outputs["loss"][0]);
            let difference = (after - before) / (2.0 * step);
            let within = 5e-3 * norm * size + 2e-4;
            assert!((slope - difference).abs() <= within, "{name}: {slope}, {difference} within {within}");
        }
    }
}

/// The gradient of an activation is 8 times the factor of the loss, which f16 holds below 65,520.
#[test]
fn steps_whose_gradients_overflow_f16_are_skipped_and_the_factor_halves() {
    for gpu in half_gpus() {
        for (autocast, skipped) in [(false, 0), (true, 4)] {
            let graph = Graph::new();
            let loss = (&graph.input("x", [2, 4]).linear(4) * 8.0).negative().linear(3).sum();
            let builder = graph.trainer(&loss, SGD { lr: 1e-3, ..SGD::default() }).seed(2);
            let builder = builder.transforms(scaled(GradScaler::default()));
            let builder = if autocast { builder.autocast(Dtype::F16) } else { builder };
            let mut trainer = builder.build(&gpu).unwrap();
            let name = trainer.params().layout().spans()[0].name.clone();
            let head = trainer.params().layout().spans()[2].name.clone();
            // The gradients that reach the first layer are 8 times these sums of three weights, times the factor.
            trainer.params_mut().write(&head, &[1.0 / 3.0; 12]).unwrap();
            for step in 0..skipped + 2 {
                let gate = trainer.params().gate().read(&gpu, 0).unwrap();
                let expected = 65536.0 / 2f32.powi(step.min(skipped));
                assert_eq!((gate.loss_scale, gate.skipped), (expected, step.min(skipped).cast_unsigned()));
                let before = trainer.params().read(&name).unwrap();
                trainer.step(&[("x", &vec![0.5; 8])]).unwrap();
                let loss = trainer.read_loss().unwrap();
                assert!(loss.is_finite());
                let after = trainer.params().read(&name).unwrap();
                assert_eq!(before == after, step < skipped, "step {step}");
            }
        }
    }
}

#[test]
fn a_run_goes_on_from_a_checkpoint_bit_for_bit_and_in_f32_too() {
    for gpu in half_gpus() {
        let scaler = GradScaler { init_scale: 2f64.powi(24), growth_interval: 3, ..GradScaler::default() };
        let mut whole = trainer(&gpu, Some(scaler.clone())).unwrap();
        train(&mut whole, 0..12);
        let want = whole.read_checkpoint().unwrap();
        for stop in [0, 1, 7] {
            let mut first = trainer(&gpu, Some(scaler.clone())).unwrap();
            train(&mut first, 0..stop);
            let saved = first.read_checkpoint().unwrap();
            let mut second = trainer(&gpu, Some(scaler.clone())).unwrap();
            second.load_checkpoint(&saved).unwrap();
            train(&mut second, stop..12);
            assert_eq!(second.read_checkpoint().unwrap(), want, "after {stop} steps");
        }
        // A plan of evaluation and one that predicts are of f16 as well, and equal on what both compute.
        let data = noises(40, 4 * 36);
        let labels = vec![0, 1, 2, 1];
        let evaluated = whole.evaluate(&[("x", &data), ("y", &labels)], 4).unwrap();
        assert!(evaluated.loss.is_finite());
    }
}

/// The last number of the line that begins so.
fn number(said: &str, begins: &str) -> f64 {
    let line = said.lines().rev().find(|line| line.starts_with(begins)).unwrap_or_else(|| panic!("{said}"));
    let words = line.split(|c: char| c.is_whitespace() || c == '%' || c == ',');
    words.filter_map(|word| word.parse().ok()).next().unwrap_or_else(|| panic!("{line}"))
}

/// `AUTOCAST_SEEDS=3` runs more seeds than the first one.
fn seeds() -> impl Iterator<Item = u64> {
    let most = std::env::var("AUTOCAST_SEEDS").ok().and_then(|seeds| seeds.parse().ok());
    1..=most.unwrap_or(1)
}

/// What an example ends with, in f32 and in f16.
fn ends(name: &str, seed: u64, begins: &str) -> [f64; 2] {
    let seed = seed.to_string();
    let ends = [&[][..], &["--autocast"]].map(|more| {
        let mut example = built(name);
        number(&stdout(&done(example.args(["--quick", "--seed", &seed]).args(more))), begins)
    });
    println!("{name}, seed {seed}: {:.4} in f32, {:.4} in f16", ends[0], ends[1]);
    ends
}

#[test]
fn a_cnn_of_f16_reaches_the_accuracy_of_f32() {
    if half_gpus().is_empty() {
        return;
    }
    for seed in seeds() {
        // Of 360 images.
        let [single, half] = ends("train_cnn", seed, "test accuracy");
        assert!((single - half).abs() <= 0.02, "{half}, in f32 {single}");
    }
}

#[test]
fn a_transformer_of_f16_reaches_the_loss_of_f32() {
    if half_gpus().is_empty() {
        return;
    }
    for seed in seeds() {
        let [single, half] = ends("train_transformer", seed, "transformer:");
        assert!((single - half).abs() <= 0.02, "{half} bits a character, in f32 {single}");
    }
}
