//! Transfers a network that knows the digits 0 to 4 to the digits 5 to 9.
//!
//! A network is trained on the first half of the classes. Its body is loaded by name into a second network with a new
//! head. The head is trained on the other half with a frozen body, whose gradients are not computed. Then the body is
//! unfrozen, with a smaller learning rate in its own group. Instead of the first network, `--from` takes a file: from
//! this example, from `train_cnn` (whose names are changed), or from torch.
//!
//! With seeds 1 to 3, the accuracy on the first half is 0.9724 to 0.9890. On the other half it is 0.7877 to 0.8045
//! with a new head, and 0.9553 to 0.9888 with everything trained. A run asserts 0.95, 0.65 and 0.93. A step takes 17
//! dispatches with a frozen body and 32 otherwise. The run also asserts that the body does not change by a single bit
//! until it is unfrozen. Accuracy alone would not show that: on such small images, a head on an untrained body
//! reaches 0.83.

mod args;
#[path = "../support/digits.rs"]
mod digits;
#[path = "../support/folder.rs"]
mod folder;
#[path = "../support/images.rs"]
mod images;
mod network;
#[path = "../support/options.rs"]
mod options;
mod phases;
#[path = "../support/progress.rs"]
mod progress;
#[path = "../support/run.rs"]
mod run;
#[path = "../support/several.rs"]
mod several;
#[path = "../support/terminal.rs"]
mod terminal;

use std::process::ExitCode;

use anyhow::{Result, ensure};
use gradus::params::Weights;
use gradus::train::data::Dataset;
use gradus::{Gpu, GpuOptions};

use args::{Args, Finetuning, Pretraining};
use images::{Classify, Sets, Source};
use phases::Finetune;
use terminal::{exit, say};

fn main() -> ExitCode {
    exit(finetune(&Args::parse()))
}

fn finetune(args: &Args) -> Result<()> {
    let source = Source { data: args.data.clone(), shuffle_labels: false, resident: false };
    let (train, test) = source.read(digits::SIDE)?;
    let classes = train.n_classes();
    ensure!(classes >= 4, "--data: there must be 4 classes or more, got {classes}");
    let half = |from, to| Sets::new((only(&train, from, to)?, only(&test, from, to)?));
    let gpu = Gpu::new(GpuOptions::default())?;
    let info = gpu.info();
    let (middle, last) = (classes / 2, classes - 1);
    let device = format!("{} ({:?})", info.name, info.backend);
    say(format_args!("{device}; classes 0 to {} first, then {middle} to {last}", middle - 1))?;
    let mut first = None;
    let weights = match &args.from {
        Some(path) => Weights::read(path)?,
        None => {
            let (weights, trained) = pretrain(args, &gpu, half(0, middle)?)?;
            first = Some(trained);
            weights
        }
    };
    let (config, [head, all]) = transfer(args, &gpu, weights, half(middle, classes)?)?;
    let learnt = first.as_ref().map_or("-".into(), |(_, accuracy)| format!("{accuracy:.4}"));
    let line = format!(
        "test accuracy: first half {learnt}, other half {head:.4} with a new head, {all:.4} with all"
    );
    let Some((pretraining, learnt)) = first else { return say(line) };
    let Some(bounds) = args.bounds(&pretraining, &config) else { return say(line) };
    let reached = [learnt, head, all].into_iter().zip(bounds).all(|(accuracy, bound)| accuracy >= bound);
    ensure!(reached, "{line}: they should be {bounds:?} or more");
    say(format_args!("{line} (bounds: {bounds:?})"))
}

/// The samples of a range of classes, renumbered from 0.
fn only(set: &Dataset, from: u32, to: u32) -> Result<Dataset> {
    let classes = from..to;
    let indices: Vec<usize> = (0..set.len()).filter(|&index| classes.contains(&set.y()[index])).collect();
    ensure!(!indices.is_empty(), "--data: there is no image of the classes {from} to {}", to - 1);
    let some = set.subset(&indices)?;
    let labels = some.y().iter().map(|label| label - from).collect();
    Ok(Dataset::from_values(some.values().clone(), some.shape(), labels, to - from)?)
}

/// The weights of a network trained on the first half of the classes, its settings, and its accuracy.
fn pretrain(args: &Args, gpu: &Gpu, sets: Sets) -> Result<(Weights, (Pretraining, f64))> {
    say("\nfirst half")?;
    let options = several::within(&args.options, "first");
    let resumed = run::resumed::<Classify<Pretraining>>(&options)?;
    let config = images::config(resumed.as_ref(), |saved| args.pretraining(saved))?;
    let training = &config.training;
    let network = ("the network", &sets.images);
    let network =
        images::network(gpu, network, (training, config.epochs), network::logits, images::one_group)?;
    let task = Classify::new(gpu, "cnn".into(), (config.clone(), training), sets, false)?;
    let mut run = images::start(&task, network, &task.settings, resumed, &options)?;
    let test = run.train()?;
    Ok((run.trainer.params().read_weights()?, (config, test.metrics[0])))
}

/// Trains its body with a new head on the other half. Returns the settings, and the accuracies with only the head and
/// with everything trained.
fn transfer(args: &Args, gpu: &Gpu, weights: Weights, sets: Sets) -> Result<(Finetuning, [f64; 2])> {
    say("\nother half: a new head on the frozen body, then all")?;
    let body = network::body_of(weights)?;
    let options = several::within(&args.options, "other");
    let resumed = run::resumed::<Finetune>(&options)?;
    let config = images::config(resumed.as_ref(), |saved| args.finetuning(network::checksum(&body), saved))?;
    let Finetuning { head_epochs, body_epochs, body_lr, ref training, .. } = config;
    let epochs = head_epochs.saturating_add(body_epochs);
    let network = ("the network", &sets.images);
    let mut network = images::network(gpu, network, (training, epochs), network::logits, network::group)?;
    let trainer = &mut network.0;
    *trainer.optimizer_mut().group_mut("body")?.lr_mut() = body_lr;
    network::load(trainer.params_mut(), &body, args.from.as_deref())?;
    let task = Classify::new(gpu, "cnn".into(), (config.clone(), training), sets, false)?;
    let task = Finetune { task, head_epochs: head_epochs as u64, body };
    let [frozen, thawed] = task.dispatches(trainer)?;
    ensure!(frozen < thawed, "a step on a frozen body should be cheaper: {frozen} dispatches, not {thawed}");
    let mut run = images::start(&task, network, &task.task.settings, resumed, &options)?;
    let test = run.train()?;
    say(format_args!("\n{frozen} dispatches a step on the frozen body, {thawed} with all trained"))?;
    let with_head = run.saved.history.column("test_accuracy")?[head_epochs - 1];
    Ok((config, [with_head, test.metrics[0]]))
}
