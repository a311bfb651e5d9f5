//! A device that is lost at any command of a run: what was saved goes on, bit for bit, on another.

use gradus::graph::{Graph, Var};
use gradus::optim::{AdamW, Ema};
use gradus::schedule::OneCycleLR;
use gradus::train::{Checkpoint, Trainer};
use gradus::{Error, Gpu};

use crate::common::{bits, gpu, noises};
use crate::folder::Folder;

fn trainer(gpu: &Gpu) -> (Trainer<AdamW>, Var) {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [6, 5]), graph.labels("y", 6));
    let logits = x.linear(9).relu().dropout(0.2).linear(3);
    let builder =
        graph.trainer(&logits.cross_entropy(&y), AdamW::default()).schedule(OneCycleLR::new(1e-2, 90));
    (builder.averages(Ema::new(0.9)).seed(5).clip_grad_norm(1.0).build(gpu).unwrap(), logits)
}

/// What a run leaves: parameters, averages and state as a file holds them, losses and predictions.
type End = (Vec<u8>, Vec<u32>);

/// All that a run does, `steps` steps from where its trainer stands.
fn go_on((trainer, logits): &mut (Trainer<AdamW>, Var), steps: u64, folder: &Folder) -> Result<End, Error> {
    let mut numbers = Vec::new();
    let first = trainer.steps();
    for step in first..first + steps {
        trainer.step(&[("x", &noises(step, 6 * 5)), ("y", &vec![0, 1, 2, 2, 1, 0])])?;
        if step % 3 == 0 {
            numbers.push(trainer.read_loss()?);
        }
    }
    while let Some(report) = trainer.read_report()? {
        numbers.push(report.loss);
    }
    // Rows of another number, and so a plan that is made here.
    numbers.extend(trainer.predict(logits, &[("x", &noises(7, 4 * 5))], 4)?);
    let path = folder.join("end.safetensors");
    trainer.read_checkpoint()?.write(&path)?;
    Ok((std::fs::read(path).unwrap(), bits(&numbers)))
}

/// From the checkpoint on a device; what happens once it is loaded is up to `then`.
fn resumed(gpu: &Gpu, checkpoint: &Checkpoint, then: impl FnOnce(&Gpu)) -> (Trainer<AdamW>, Var) {
    let mut made = trainer(gpu);
    made.0.load_checkpoint(checkpoint).unwrap();
    then(gpu);
    made
}

/// Number of places, evenly spread; all of them need minutes.
fn places() -> Option<usize> {
    std::env::var("GRADUS_PLACES").ok().map(|number| number.parse().expect("GRADUS_PLACES"))
}

#[test]
fn what_was_saved_before_a_loss_at_any_command_goes_on_as_if_there_were_none() {
    const FAR: u64 = 1 << 40;
    let (Some(first), Some(mut other)) = (gpu(), gpu()) else { return };
    let folder = Folder::new("lost-anywhere");
    let mut started = trainer(&first);
    go_on(&mut started, 4, &folder).unwrap();
    let checkpoint = started.0.read_checkpoint().unwrap();

    let asked = places().unwrap_or(16);
    // As many steps as have so many commands.
    let (mut steps, mut commands) = (2, 0);
    let mut expected = None;
    while commands < asked as u64 {
        let mut whole = resumed(&first, &checkpoint, |gpu| gpu.destroy_after(FAR));
        steps += 1;
        expected = Some(go_on(&mut whole, steps, &folder).unwrap());
        commands = FAR - first.commands_left().unwrap();
    }
    let expected = expected.unwrap();

    let (mut lost, mut whole) = (0, 0);
    for place in (0..asked as u64).map(|at| at * commands / asked as u64) {
        let doomed = gpu().unwrap();
        let mut run = resumed(&doomed, &checkpoint, |gpu| gpu.destroy_after(place));
        match go_on(&mut run, steps, &folder) {
            Err(Error::DeviceLost(reason)) => {
                assert!(reason.contains(' ') && doomed.is_lost(), "command {place}: {reason}");
                lost += 1;
            }
            // At the last commands all has arrived.
            Ok(end) => {
                assert!(end == expected, "command {place}: another end");
                whole += 1;
            }
            Err(error) => panic!("command {place} of {commands}: {error}"),
        }
        drop(run);
        if places().is_some() {
            other = gpu().unwrap();
        }
        let mut again = resumed(&other, &checkpoint, |_| {});
        assert!(
            go_on(&mut again, steps, &folder).unwrap() == expected,
            "after a loss at command {place} of {commands}"
        );
    }
    println!(
        "{asked} places among {commands} commands of {steps} steps: {lost} losses, {whole} runs that had ended"
    );
    assert!(lost * 10 >= asked * 9, "{lost} of {asked}");
}
