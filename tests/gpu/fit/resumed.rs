//! Runs that end at any moment, and go on.

use std::fs;

use gradus::grad::{Accumulate, GradScaler, Transforms};
use gradus::train::Checkpoint;

use super::*;

/// Files of a folder by name.
fn files(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let read = |entry: std::io::Result<fs::DirEntry>| {
        let path = entry.unwrap().path();
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
    };
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(read).collect();
    files.sort();
    files
}

fn names(files: &[(String, Vec<u8>)]) -> Vec<&str> {
    files.iter().map(|(name, _)| &name[..]).collect()
}

/// Goes on from the last checkpoint in `folder`, if there is one.
fn go_on<R: AnyRule + Clone>(
    trainer: &mut Trainer<R>,
    sets: &Sets,
    folder: &Path,
    fails: u64,
) -> Result<FitReport, Error> {
    let last = folder.join("last.safetensors");
    let resume = last.exists().then(|| Checkpoint::read(&last).unwrap());
    let mut callbacks = every_callback(folder).with(Fails(fails));
    let options = FitOptions { resume: resume.as_ref(), ..epochs(6) };
    fit(trainer, sets, &options, &mut callbacks)
}

#[test]
fn a_run_that_fails_at_any_step_and_is_resumed_leaves_the_same_files_and_weights() {
    let Some(gpu) = gpu() else { return };
    type Make = fn() -> TrainerBuilder<AdamW>;
    let rows: [(&str, Make, &[u64]); 4] = [
        ("plain", || builder(AdamW { lr: 3e-2, ..AdamW::default() }), &[0, 1, 3, 4, 5, 13]),
        ("submits", || builder(AdamW::default()).steps_per_submit(2), &[2, 7]),
        (
            "accumulated",
            || {
                let accumulate = Some(Accumulate::new(5));
                builder(AdamW::default()).transforms(Transforms { accumulate, ..Transforms::default() })
            },
            &[2],
        ),
        (
            "scaled",
            || {
                let grad_scaler = Some(GradScaler::default());
                builder(AdamW::default()).transforms(Transforms { grad_scaler, ..Transforms::default() })
            },
            &[8],
        ),
    ];
    let sets = Sets::new();
    for (name, make, ends) in rows {
        let trainer = || make().build(&gpu).unwrap();
        let (folder, mut undisturbed) = (Folder::new(&format!("fit-{name}")), trainer());
        let whole = folder.join("whole");
        let report = go_on(&mut undisturbed, &sets, &whole, u64::MAX).unwrap();
        let expected = files(&whole);
        let known = ["best.safetensors", "epochs.csv", "events.out.tfevents.gradus", "last.safetensors"];
        assert_eq!(names(&expected)[..4], known);
        assert_eq!(expected.len(), 7, "{:?}", names(&expected));
        for end in ends {
            let (out, mut failed, mut resumed) = (folder.join(format!("{end}")), trainer(), trainer());
            let error = go_on(&mut failed, &sets, &out, *end).unwrap_err().to_string();
            assert_eq!(error, format!("callback Fails: test: step {end}"));
            // What was not saved stands behind the checkpoint, as after a kill in the midst of a line.
            for file in ["epochs.csv", "steps.csv", "events.out.tfevents.gradus"] {
                let path = out.join(file);
                let text = [&fs::read(&path).unwrap()[..], b"1,2,0."].concat();
                fs::write(path, text).unwrap();
            }
            let again = go_on(&mut resumed, &sets, &out, u64::MAX).unwrap();
            let ended = files(&out);
            assert_eq!(names(&ended), names(&expected), "{name} {end}");
            for (one, two) in ended.iter().zip(&expected) {
                assert!(one == two, "{name}, failed at {end}: {} differs", one.0);
            }
            assert_eq!(all_params(&resumed), all_params(&undisturbed), "{name} {end}");
            assert_eq!((again.history, again.stopped), (report.history.clone(), report.stopped.clone()));
        }
        // A run that is over changes nothing.
        let mut over = trainer();
        go_on(&mut over, &sets, &whole, u64::MAX).unwrap();
        assert!(files(&whole) == expected, "{name}");
        assert_eq!(all_params(&over), all_params(&undisturbed));
    }
}

#[test]
fn a_shorter_run_goes_on_to_more_epochs() {
    let Some(gpu) = gpu() else { return };
    let (sets, folder) = (Sets::new(), Folder::new("fit-longer"));
    let (mut whole, mut first, mut second) = (adamw(&gpu), adamw(&gpu), adamw(&gpu));
    let run = |trainer: &mut Trainer<AdamW>, name: &str, length, resume: Option<&Checkpoint>| {
        let mut callbacks = Callbacks::new()
            .with(CSVLogger::epochs(folder.join(name)))
            .with(ModelCheckpoint::new(folder.join(name.replace(".csv", ""))).every_n_epochs(2));
        fit(trainer, &sets, &FitOptions { resume, ..epochs(length) }, &mut callbacks).unwrap()
    };
    run(&mut whole, "whole.csv", 5, None);
    run(&mut first, "parts.csv", 3, None);
    let checkpoint = Checkpoint::read(folder.join("parts/last.safetensors")).unwrap();
    assert_eq!(checkpoint.step, 15, "the end is saved too");
    let report = run(&mut second, "parts.csv", 5, Some(&checkpoint));
    assert_eq!(report.history.rows().len(), 5);
    assert_eq!(all_params(&second), all_params(&whole));
    let read = |name: &str| fs::read(folder.join(name)).unwrap();
    assert!(read("parts.csv") == read("whole.csv"));
    // A trainer that was already trained begins a run of its own.
    let report = fit(&mut whole, &sets, &epochs(1), &mut Callbacks::new()).unwrap();
    assert_eq!((report.history.rows()[0].epoch, report.history.rows()[0].steps), (1, 30));
}

#[test]
fn a_run_that_is_stopped_within_an_epoch_goes_on_there() {
    let Some(gpu) = gpu() else { return };
    let (sets, folder) = (Sets::new(), Folder::new("fit-stopped"));
    let (mut whole, mut parts, mut stopped) = (adamw(&gpu), adamw(&gpu), adamw(&gpu));
    fit(&mut whole, &sets, &epochs(2), &mut Callbacks::new()).unwrap();
    let mut callbacks = Callbacks::new().with(Stops).with(ModelCheckpoint::new(&*folder));
    let report = fit(&mut stopped, &sets, &epochs(2), &mut callbacks).unwrap();
    let stop = report.stopped.unwrap();
    assert_eq!((&stop.by[..], &stop.reason[..]), ("Stops", "seen 0"));
    assert!(report.history.rows().is_empty() && (1..=4).contains(&stopped.steps()), "{}", stopped.steps());
    let checkpoint = Checkpoint::read(folder.join("last.safetensors")).unwrap();
    assert_eq!(checkpoint.step, stopped.steps());
    let mut callbacks = Callbacks::new().with(ModelCheckpoint::new(&*folder));
    let options = FitOptions { resume: Some(&checkpoint), ..epochs(2) };
    let report = fit(&mut parts, &sets, &options, &mut callbacks).unwrap();
    assert_eq!((report.history.rows().len(), all_params(&parts)), (2, all_params(&whole)));
}
