//! What a run refuses, and what it leaves as it was.

use std::fs;

use gradus::schedule::StepLR;
use gradus::train::Checkpoint;
use serde_json::json;

use super::*;

/// A checkpoint of one epoch, with the setting `seed` 7.
fn saved(gpu: &Gpu, sets: &Sets, folder: &Path) -> Checkpoint {
    let mut callbacks =
        Callbacks::new().with(CSVLogger::epochs(folder.join("a.csv"))).with(ModelCheckpoint::new(folder));
    let run = json!({"seed": 7}).as_object().unwrap().clone();
    fit(&mut adamw(gpu), sets, &FitOptions { run, ..epochs(1) }, &mut callbacks).unwrap();
    Checkpoint::read(folder.join("last.safetensors")).unwrap()
}

#[test]
fn another_run_is_refused_with_the_difference_and_changes_nothing() {
    let Some(gpu) = gpu() else { return };
    let (sets, folder) = (Sets::new(), Folder::new("fit-other"));
    let checkpoint = saved(&gpu, &sets, &folder);
    let csv = fs::read(folder.join("a.csv")).unwrap();
    let name = folder.join("last.safetensors").display().to_string();
    let same = || {
        Callbacks::new().with(CSVLogger::epochs(folder.join("a.csv"))).with(ModelCheckpoint::new(&*folder))
    };
    let refuse =
        |checkpoint: &Checkpoint, seed: u64, batch: usize, validates: bool, mut callbacks: Callbacks<'_>| {
            let mut trainer = adamw(&gpu);
            let before = all_params(&trainer);
            let inputs = sets.inputs();
            let validation = validates.then_some(Validation { data: &inputs, batch: 8 });
            let run = json!({"seed": seed}).as_object().unwrap().clone();
            let options = FitOptions { validation, resume: Some(checkpoint), run, ..epochs(2) };
            let error = trainer.fit(&mut loader(&sets.train, batch), &options, &mut callbacks).unwrap_err();
            assert_eq!(all_params(&trainer), before);
            assert!(fs::read(folder.join("a.csv")).unwrap() == csv);
            error.to_string()
        };
    let mut plain = checkpoint.clone();
    plain.run.remove("fit");
    let rows = [
        (refuse(&checkpoint, 8, 8, true, same()), "its seed is 7, this run's is 8"),
        (refuse(&checkpoint, 7, 4, true, same()), "its epochs have 5 batches, those of this source have 9"),
        (
            refuse(&checkpoint, 7, 8, false, same()),
            "its history has train_loss, train_accuracy, val_loss, val_accuracy, lr, this run's has train_loss, \
             train_accuracy, lr",
        ),
        (
            refuse(&checkpoint, 7, 8, true, Callbacks::new().with(ModelCheckpoint::new(&*folder))),
            "its callbacks with a state are CSVLogger, ModelCheckpoint, this run's are ModelCheckpoint",
        ),
        (
            refuse(&checkpoint, 7, 8, true, same().with(CSVLogger::steps(folder.join("b.csv"), 1))),
            "its callbacks with a state are CSVLogger, ModelCheckpoint, this run's are CSVLogger, CSVLogger 2, \
             ModelCheckpoint",
        ),
        (refuse(&plain, 7, 8, true, same()), "it was not saved by fit: its run has no entry fit"),
    ];
    for (error, reason) in rows {
        assert_eq!(error, format!("{name}: {reason}"));
    }
    // A file that was changed since is not taken for the run's.
    let path = folder.join("a.csv");
    let run = json!({"seed": 7}).as_object().unwrap().clone();
    let options = FitOptions { resume: Some(&checkpoint), run, ..epochs(2) };
    for (text, reason) in [
        (
            vec![b'x'; csv.len()],
            format!("its first {} bytes are not those that the checkpoint's run wrote", csv.len()),
        ),
        (csv[..9].to_vec(), format!("it has 9 bytes, the checkpoint's run had written {}", csv.len())),
    ] {
        fs::write(&path, &text).unwrap();
        let error = fit(&mut adamw(&gpu), &sets, &options, &mut same()).unwrap_err().to_string();
        assert_eq!(error, format!("callback CSVLogger: {}: {reason}", path.display()));
        assert_eq!(fs::read(&path).unwrap(), text);
    }
}

#[test]
fn a_callback_that_fails_ends_the_run_with_its_name_and_leaves_the_checkpoint_whole() {
    let Some(gpu) = gpu() else { return };
    let (sets, folder) = (Sets::new(), Folder::new("fit-fails"));
    let mut callbacks = Callbacks::new().with(ModelCheckpoint::new(&*folder)).with(Fails(7));
    let error = fit(&mut adamw(&gpu), &sets, &epochs(3), &mut callbacks).unwrap_err();
    assert_eq!(error.to_string(), "callback Fails: test: step 7");
    assert!(matches!(error, Error::Callback { ref callback, .. } if callback == "Fails"));
    assert_eq!(Checkpoint::read(folder.join("last.safetensors")).unwrap().step, 5);
    // A folder that cannot be written.
    let file = folder.join("file");
    fs::write(&file, "").unwrap();
    for (callback, name) in [
        (Callbacks::new().with(CSVLogger::epochs(file.join("a.csv"))), "CSVLogger"),
        (Callbacks::new().with(TensorBoard::new(&file)), "TensorBoard"),
        (Callbacks::new().with(ModelCheckpoint::new(&file)), "ModelCheckpoint"),
    ] {
        let mut callbacks = callback;
        let error = fit(&mut adamw(&gpu), &sets, &epochs(1), &mut callbacks).unwrap_err().to_string();
        assert!(error.starts_with(&format!("callback {name}: {}", file.display())), "{error}");
    }
}

#[test]
fn a_loss_that_is_not_a_number_stops_and_is_not_saved() {
    let Some(gpu) = gpu() else { return };
    let (mut sets, folder) = (Sets::new(), Folder::new("fit-nan"));
    let mut x = sets.train.numbers();
    x[20] = f32::NAN;
    sets.train = Dataset::new(x, &[16], sets.train.y().to_vec(), CLASSES).unwrap();
    let mut monitor = GradientMonitor::new(1);
    let report = {
        let mut callbacks =
            Callbacks::new().with(TerminateOnNaN).with(&mut monitor).with(ModelCheckpoint::new(&*folder));
        fit(&mut adamw(&gpu), &sets, &epochs(3), &mut callbacks).unwrap()
    };
    let stop = report.stopped.unwrap();
    assert_eq!(stop.by, "TerminateOnNaN");
    assert!(
        stop.reason.starts_with("the loss of step ") && stop.reason.ends_with(" is NaN"),
        "{}",
        stop.reason
    );
    assert!(!folder.join("last.safetensors").exists());
    assert_eq!(report.notes.len(), 1);
    assert!(report.notes[0].text.starts_with("exploding gradients: "), "{:?}", report.notes);
    // Saves that are due in between wait for reports, of which one is the first that is not a number.
    for steps in [1, 3] {
        let saves = ModelCheckpoint::new(folder.join("due")).every_n_steps(steps);
        let mut callbacks = Callbacks::new().with(TerminateOnNaN).with(GradientMonitor::new(1)).with(saves);
        let report = fit(&mut adamw(&gpu), &sets, &epochs(3), &mut callbacks).unwrap();
        assert_eq!((report.stopped.unwrap().by, report.notes.len()), ("TerminateOnNaN".into(), 1));
        let last = folder.join("due").join("last.safetensors");
        assert!(!last.exists() || Checkpoint::read(&last).is_ok(), "what was saved before is whole");
    }
    // Without it, what watches the metric says so.
    let mut callbacks = Callbacks::new().with(EarlyStopping::default());
    let error = fit(&mut adamw(&gpu), &sets, &epochs(3), &mut callbacks).unwrap_err().to_string();
    assert_eq!(error, "callback EarlyStopping: metric must be a number, got NaN");
}

#[test]
fn options_that_do_not_fit_are_refused_before_the_first_step() {
    let Some(gpu) = gpu() else { return };
    let sets = Sets::new();
    let refuse = |mut trainer: Trainer<AdamW>, callback: Callbacks<'_>| {
        let mut callbacks = callback;
        let error = fit(&mut trainer, &sets, &epochs(1), &mut callbacks).unwrap_err().to_string();
        assert_eq!(trainer.steps(), 0);
        error
    };
    let scheduled = || builder(AdamW::default()).schedule(StepLR::new(3)).build(&gpu).unwrap();
    let counted = || builder(AdamW::default()).steps_per_epoch(4).build(&gpu).unwrap();
    let grouped = || builder(AdamW::default()).steps_per_submit(8).build(&gpu).unwrap();
    let named = |last: &str| Callbacks::new().with(ModelCheckpoint::new("x").last_name(last));
    let rows = [
        (
            refuse(scheduled(), Callbacks::new().with(ReduceLROnPlateauCallback::default())),
            "callback ReduceLROnPlateau: learning rate: the trainer's schedule sets the rates: give it \
             schedule::ReduceLROnPlateau instead, or no schedule",
        ),
        (
            refuse(counted(), Callbacks::new()),
            "steps_per_epoch must be 5, the steps in an epoch of the source, got 4",
        ),
        (
            refuse(grouped(), Callbacks::new().with(GradientMonitor::new(3))),
            "steps between norms must be 0 or at least 4, got 3",
        ),
        (
            refuse(adamw(&gpu), Callbacks::new().with(GradientMonitor::new(0))),
            "callback GradientMonitor: every must be at least 1, got 0",
        ),
        (
            refuse(adamw(&gpu), named("../last")),
            "callback ModelCheckpoint: last must be a file name other than best.safetensors and those with a step, got \
             \"../last\"",
        ),
        (
            refuse(adamw(&gpu), named("step-00000003.safetensors")),
            "callback ModelCheckpoint: last must be a file name other than best.safetensors and those with a step, got \
             \"step-00000003.safetensors\"",
        ),
    ];
    for (error, message) in rows {
        assert_eq!(error, message);
    }
    let mut trainer = adamw(&gpu);
    for (given, of, reason) in [
        (None, 3, "fit: the source does not know how many batches an epoch has: set batches_per_epoch"),
        (Some(4), 3, "source: epoch 0 ended after 3 of 4 batches"),
        (Some(2), 3, "source: epoch 0 has more than 2 batches"),
        (Some(0), 3, "fit: an epoch has 0 batches, and 1 make a step"),
    ] {
        let mut source = from_fn(|position, batch: &mut Batch| {
            *batch = Batch { x: vec![0.5; 8 * 16], y: vec![1; 8] };
            Ok(position.batch < of)
        });
        let options = FitOptions { batches_per_epoch: given, ..epochs(1) };
        let error = adamw(&gpu).fit(&mut source, &options, &mut Callbacks::new()).unwrap_err().to_string();
        assert_eq!(error, reason);
    }
    let options = FitOptions { batches_per_epoch: Some(4), ..epochs(1) };
    let error = fit(&mut trainer, &sets, &options, &mut Callbacks::new()).unwrap_err().to_string();
    assert_eq!(error, "batches_per_epoch must be 5, those of the source, got 4");
    let mut callbacks =
        Callbacks::new().with(EarlyStopping { monitor: "val_los".into(), ..EarlyStopping::default() });
    let error = fit(&mut trainer, &sets, &epochs(1), &mut callbacks).unwrap_err().to_string();
    assert!(
        error.starts_with("callback EarlyStopping: unknown metric \"val_los\", did you mean \"val_loss\"?"),
        "{error}"
    );
}
