//! `Trainer::fit` and its callbacks: runs that are interrupted and resumed, what a step costs, what is refused.

mod diagnoses;
mod event_files;
mod killed;
mod refusals;
mod resumed;

use std::path::Path;
use std::sync::{Arc, Mutex};

use gradus::gpu::Counters;
use gradus::graph::{Graph, HostData};
use gradus::optim::{AdamW, AnyRule};
use gradus::schedule;
use gradus::train::callbacks::{
    BatchEnd, CSVLogger, Callback, Callbacks, Control, EarlyStopping, EpochEnd, GradientMonitor,
    LearningRateMonitor, ModelCheckpoint, Progress, ProgressStyle, ReduceLROnPlateauCallback, TensorBoard,
    TerminateOnNaN,
};
use gradus::train::data::{Batch, BatchSource, DataLoader, Dataset, from_fn};
use gradus::train::{FitOptions, FitReport, Trainer, TrainerBuilder, Validation};
use gradus::{Error, Gpu};

use crate::common::{bits, gpu, noises};
use crate::folder::Folder;

const CLASSES: u32 = 4;

/// Samples whose class is the largest of their first numbers, by this much.
fn dataset(stream: u64, samples: usize, gap: f32) -> Dataset {
    let y: Vec<u32> = (0..CLASSES).cycle().take(samples).collect();
    let mut x = noises(stream, samples * 16);
    for (sample, label) in x.chunks_mut(16).zip(&y) {
        sample[*label as usize] += gap;
    }
    Dataset::new(x, &[16], y, CLASSES).unwrap()
}

fn builder<R: AnyRule + Clone>(rule: R) -> TrainerBuilder<R> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [8, 16]), graph.labels("y", 8));
    let logits = x.linear(12).relu().linear(CLASSES as usize);
    graph.trainer(&logits.cross_entropy(&y), rule).metric("accuracy", &logits.accuracy(&y)).seed(3)
}

fn adamw(gpu: &Gpu) -> Trainer<AdamW> {
    builder(AdamW { lr: 1e-2, ..AdamW::default() }).build(gpu).unwrap()
}

/// The data of runs: 5 steps an epoch, the last one smaller.
struct Sets {
    train: Dataset,
    x: Vec<f32>,
    y: Vec<u32>,
}

impl Sets {
    fn new() -> Self {
        let test = dataset(2, 24, 1.5);
        Self { train: dataset(1, 36, 1.5), x: test.numbers(), y: test.y().to_vec() }
    }

    fn inputs(&self) -> [(&str, &dyn HostData); 2] {
        [("x", &self.x), ("y", &self.y)]
    }
}

fn fit<R: AnyRule + Clone>(
    trainer: &mut Trainer<R>,
    sets: &Sets,
    options: &FitOptions<'_>,
    callbacks: &mut Callbacks<'_>,
) -> Result<FitReport, Error> {
    let inputs = sets.inputs();
    let validation = Some(Validation { data: &inputs, batch: 10 });
    let options = FitOptions { validation, ..options.clone() };
    trainer.fit(&mut loader(&sets.train, 8), &options, callbacks)
}

fn loader(data: &Dataset, batch: usize) -> DataLoader<&Dataset> {
    DataLoader::new(data, batch).unwrap().shuffle(7)
}

fn epochs(epochs: u64) -> FitOptions<'static> {
    FitOptions { epochs, ..FitOptions::default() }
}

fn all_params<R: AnyRule + Clone>(trainer: &Trainer<R>) -> Vec<u32> {
    bits(&trainer.params().params().read_all(trainer.params().gpu()).unwrap())
}

/// Every callback, with files in `folder`.
fn every_callback(folder: &Path) -> Callbacks<'static> {
    let plateau = schedule::ReduceLROnPlateau { patience: 0, threshold: 0.2, ..Default::default() };
    Callbacks::new()
        .with(TerminateOnNaN)
        .with(LearningRateMonitor::new())
        .with(GradientMonitor::new(2))
        .with(ReduceLROnPlateauCallback { plateau, ..ReduceLROnPlateauCallback::default() })
        .with(EarlyStopping { patience: 3, restore_best_weights: true, ..EarlyStopping::default() })
        .with(CSVLogger::epochs(folder.join("epochs.csv")))
        .with(CSVLogger::steps(folder.join("steps.csv"), 1))
        .with(TensorBoard::new(folder))
        .with(
            ModelCheckpoint::new(folder)
                .monitor("val_loss", schedule::MetricMode::Min)
                .keep(2)
                .every_n_steps(3),
        )
        .with(Progress::new(ProgressStyle::Silent))
}

/// Text that a callback has printed.
#[derive(Clone, Default)]
struct Printed(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Printed {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Printed {
    fn text(&self) -> String {
        String::from_utf8(self.0.lock().unwrap().clone()).unwrap()
    }
}

#[test]
fn a_loop_of_ones_own_takes_the_same_steps() {
    let Some(gpu) = gpu() else { return };
    let (sets, mut fitted, mut own) = (Sets::new(), adamw(&gpu), adamw(&gpu));
    let report = fit(&mut fitted, &sets, &epochs(3), &mut Callbacks::new()).unwrap();
    let mut losses = Vec::new();
    let (mut source, mut batch) = (loader(&sets.train, 8), Batch::default());
    while source.position().epoch < 3 {
        while source.next_batch(&mut batch).unwrap() {
            own.step(&[("x", &batch.x), ("y", &batch.y)]).unwrap();
            losses.push((f64::from(own.read_loss().unwrap()), batch.y.len() as f64));
        }
    }
    assert_eq!(all_params(&fitted), all_params(&own));
    let tested = own.evaluate(&sets.inputs(), 24).unwrap();
    let row = report.history.rows().last().unwrap();
    assert_eq!((row.epoch, row.steps, report.stopped), (3, 15, None));
    assert_eq!(report.history.columns(), ["train_loss", "train_accuracy", "val_loss", "val_accuracy", "lr"]);
    let mean = losses[10..].iter().map(|(loss, samples)| loss * samples).sum::<f64>() / 36.0;
    assert!((row.values[0] - mean).abs() < 1e-12, "{} {mean}", row.values[0]);
    assert!((row.values[2] - tested.loss).abs() < 1e-6, "{} {}", row.values[2], tested.loss);
    assert!((row.values[3] - tested.metrics[0]).abs() < 1e-6, "{} {}", row.values[3], tested.metrics[0]);
    assert_eq!(row.values[4], 1e-2);
}

/// Keeps the counters of the device over each step.
struct Counts {
    gpu: Gpu,
    before: Option<Counters>,
    of_steps: Vec<Counters>,
}

impl Callback for Counts {
    fn name(&self) -> &str {
        "Counts"
    }

    fn on_train_batch_begin(&mut self, _: u64, _: &mut Control) -> Result<(), Error> {
        // The host has something else to do meanwhile: no step finds its predecessors on their way.
        self.gpu.wait()?;
        let now = self.gpu.counters();
        self.of_steps.extend(self.before.replace(now).map(|before| now.since(&before)));
        Ok(())
    }

    fn on_epoch_end(&mut self, _: &EpochEnd<'_>, _: &mut Control) -> Result<(), Error> {
        self.before = None;
        Ok(())
    }
}

#[test]
fn no_step_waits_because_of_a_callback() {
    let Some(gpu) = gpu() else { return };
    let sets = Sets::new();
    let counts = |callbacks: Callbacks<'_>| {
        let mut counts = Counts { gpu: gpu.clone(), before: None, of_steps: Vec::new() };
        let mut callbacks = callbacks.with(&mut counts);
        // Once through the data by fours: 9 steps an epoch.
        let mut data = loader(&sets.train, 4);
        let mut trainer = adamw(&gpu);
        trainer.fit(&mut data, &epochs(4), &mut callbacks).unwrap();
        drop(callbacks);
        // Those of an epoch, without its last, and beyond the first, which makes what is needed.
        let of_steps = counts.of_steps;
        assert_eq!(of_steps.len(), 4 * 8);
        of_steps[8..].to_vec()
    };
    let without = counts(Callbacks::new());
    let folder = Folder::new("fit-counts");
    let with = counts(
        Callbacks::new()
            .with(TerminateOnNaN)
            .with(LearningRateMonitor::new())
            .with(GradientMonitor::new(4))
            .with(EarlyStopping { monitor: "train_loss".into(), patience: 9, ..Default::default() })
            .with(ReduceLROnPlateauCallback {
                monitor: "train_loss".into(),
                ..ReduceLROnPlateauCallback::default()
            })
            .with(CSVLogger::epochs(folder.join("epochs.csv")))
            .with(CSVLogger::steps(folder.join("steps.csv"), 1))
            .with(TensorBoard::new(&*folder))
            .with(ModelCheckpoint::new(&*folder))
            .with(Progress::new(ProgressStyle::Silent)),
    );
    let mut reported = 0;
    for (index, (with, without)) in with.iter().zip(&without).enumerate() {
        let step = 9 * (1 + index / 8) + index % 8;
        assert_eq!((without.submits, without.read_backs, without.allocations), (1, 0, 0));
        if step.is_multiple_of(4) {
            // Its norms are one more dispatch; nothing else but passes differs, and nothing is waited for.
            let norms = Counters { dispatches: 1, ..Counters::default() };
            assert_eq!(Counters { passes: 0, ..with.since(without) }, norms, "step {step}");
            reported += 1;
        } else {
            assert_eq!(with, without, "step {step}");
        }
    }
    assert!(reported > 4, "{reported}");
}

#[test]
fn best_weights_and_rates_are_those_of_the_rules() {
    let Some(gpu) = gpu() else { return };
    let sets = Sets::new();
    // Batches of one epoch teach, those of the others have other labels.
    let mislabelled = dataset(1, 36, 1.5).shuffle_labels(5);
    let run = |callbacks: &mut Callbacks<'_>, trainer: &mut Trainer<AdamW>, length| {
        let mut data = from_fn(|position, batch: &mut Batch| {
            let set = if position.epoch < 2 { &sets.train } else { &mislabelled };
            let mut batches = set.shuffled(7, position.epoch).batches(8)?;
            let next = batches.nth(usize::try_from(position.batch).unwrap());
            let more = next.is_some();
            *batch = next.unwrap_or_default();
            Ok(more)
        });
        let inputs = sets.inputs();
        let validation = Some(Validation { data: &inputs, batch: 24 });
        trainer
            .fit(
                &mut data,
                &FitOptions { validation, batches_per_epoch: Some(5), ..epochs(length) },
                callbacks,
            )
            .unwrap()
    };
    let mut stopping = EarlyStopping { patience: 2, restore_best_weights: true, ..Default::default() };
    let plateau = schedule::ReduceLROnPlateau { patience: 0, factor: 0.5, ..Default::default() };
    let mut reduces = ReduceLROnPlateauCallback { plateau: plateau.clone(), ..Default::default() };
    let mut trainer = adamw(&gpu);
    let printed = Printed::default();
    let report = {
        let mut callbacks = Callbacks::new()
            .with(&mut stopping)
            .with(&mut reduces)
            .with(Progress::to(ProgressStyle::Lines, Box::new(printed.clone())));
        run(&mut callbacks, &mut trainer, 20)
    };
    let losses = report.history.column("val_loss").unwrap();
    let best = (0..losses.len()).min_by(|one, two| losses[*one].total_cmp(&losses[*two])).unwrap();
    assert_eq!(losses.len(), best + 3, "{losses:?}");
    assert_eq!(stopping.state.best_epoch, Some(best as u64));
    let stopped = report.stopped.unwrap();
    let words = format!(
        "val_loss has not improved on {} of epoch {} up to epoch {}",
        losses[best],
        best + 1,
        best + 3
    );
    assert!(stopped.by == "EarlyStopping" && stopped.reason.starts_with(&words), "{stopped:?}");
    assert!(printed.text().lines().last().unwrap().contains(&words), "{}", printed.text());
    assert!(printed.text().starts_with("epoch  1/20  loss "), "{}", printed.text());
    // The rates of the rule alone, one epoch later.
    let mut alone = plateau;
    let rates: Vec<f64> = losses
        .iter()
        .map(|loss| {
            let lr = schedule::Schedule::at(&alone, 0, 1e-2).unwrap().lr;
            schedule::Schedule::observe(&mut alone, *loss).unwrap();
            lr
        })
        .collect();
    assert_eq!(report.history.column("lr").unwrap(), rates);
    assert!(rates[rates.len() - 1] < 1e-2);
    // The weights are those of the best epoch.
    let mut again = adamw(&gpu);
    let plateau = schedule::ReduceLROnPlateau { patience: 0, factor: 0.5, ..Default::default() };
    let mut callbacks = Callbacks::new().with(ReduceLROnPlateauCallback { plateau, ..Default::default() });
    run(&mut callbacks, &mut again, best as u64 + 1);
    assert_eq!(all_params(&trainer), all_params(&again));
}

#[test]
fn callbacks_begin_each_run_anew() {
    let Some(gpu) = gpu() else { return };
    let (sets, folder) = (Sets::new(), Folder::new("fit-anew"));
    let mut callbacks = every_callback(&folder);
    let mut run = || {
        let report = fit(&mut adamw(&gpu), &sets, &epochs(2), &mut callbacks).unwrap();
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let files =
            ["epochs.csv", "steps.csv", "events.out.tfevents.gradus", "last.safetensors", "best.safetensors"];
        (report, files.map(read))
    };
    let first = run();
    assert!(first == run());
    // A checkpoint has room for one of them.
    let mut callbacks = Callbacks::new()
        .with(EarlyStopping { patience: 2, ..Default::default() })
        .with(EarlyStopping { patience: 3, ..Default::default() })
        .with(ModelCheckpoint::new(&*folder));
    let error = fit(&mut adamw(&gpu), &sets, &epochs(1), &mut callbacks).unwrap_err().to_string();
    let reason = "checkpoint: it holds the state of one EarlyStopping, and this run has several";
    assert_eq!(error, format!("callback EarlyStopping: {reason}"));
}

#[test]
fn logs_are_seen_by_the_callbacks_that_follow() {
    let Some(gpu) = gpu() else { return };
    let (sets, folder) = (Sets::new(), Folder::new("fit-logs"));
    let (epochs_csv, steps_csv) = (folder.join("epochs.csv"), folder.join("deep/steps.csv"));
    let mut callbacks = Callbacks::new()
        .with(LearningRateMonitor::new())
        .with(GradientMonitor::new(2))
        .with(CSVLogger::epochs(&epochs_csv))
        .with(CSVLogger::steps(&steps_csv, 1));
    let mut trainer = adamw(&gpu);
    let report = fit(&mut trainer, &sets, &epochs(2), &mut callbacks).unwrap();
    let read = |path: &Path| std::fs::read_to_string(path).unwrap();
    let steps = read(&steps_csv);
    let rows: Vec<Vec<&str>> = steps.lines().map(|line| line.split(',').collect()).collect();
    assert_eq!(rows.len(), 11);
    assert_eq!(
        rows[0][..9],
        [
            "epoch",
            "steps",
            "loss",
            "accuracy",
            "lr",
            "gradient_norm",
            "parameter_norm",
            "update_norm",
            "update_ratio"
        ]
    );
    assert_eq!(rows[0].len(), 9 + 4 * 4, "{:?}", rows[0]);
    for (step, row) in rows[1..].iter().enumerate() {
        assert_eq!(row[1], (step + 1).to_string());
        assert_eq!(row[0], if step < 5 { "1" } else { "2" });
        assert_eq!(row[4], "0.01");
        assert_eq!(row[5].is_empty(), step % 2 == 1, "{row:?}");
        if step % 2 == 0 {
            let numbers: Vec<f64> = row[5..].iter().map(|number| number.parse().unwrap()).collect();
            // The whole is the norm of its parts, and the ratio that of the norms.
            for which in 0..3 {
                let parts = numbers[4..].chunks(4).map(|tensor| tensor[which].powi(2)).sum::<f64>();
                assert!((parts.sqrt() / numbers[which] - 1.0).abs() < 1e-12);
            }
            assert_eq!(numbers[3], numbers[2] / numbers[1]);
        }
    }
    // Without columns of other callbacks, the rows of epochs are the history.
    let epochs_csv = read(&epochs_csv);
    for (line, history) in epochs_csv.lines().zip(report.history.to_csv().lines()) {
        assert!(line.starts_with(history), "{line} {history}");
    }
    assert_eq!(epochs_csv.lines().count(), 3);
    let names: Vec<&str> = epochs_csv.lines().next().unwrap().split(',').collect();
    let values: Vec<f64> =
        epochs_csv.lines().nth(2).unwrap().split(',').map(|n| n.parse().unwrap()).collect();
    let dead = values[names.iter().position(|name| *name == "dead_units").unwrap()];
    // By hand: rows of the gradients that are zero.
    let mut zero = 0;
    for (name, len) in [("linear1.weight", 16), ("linear2.weight", 12)] {
        let gradient = trainer.params().read_grad(name).unwrap();
        zero += gradient.chunks(len).filter(|row| row.iter().all(|value| *value == 0.0)).count();
    }
    assert_eq!(dead, zero as f64 / 16.0);
}

/// Fails in the step with this number.
struct Fails(u64);

impl Callback for Fails {
    fn name(&self) -> &str {
        "Fails"
    }

    fn on_train_batch_begin(&mut self, step: u64, _: &mut Control) -> Result<(), Error> {
        let refuse = || Error::Config { what: "test".into(), reason: format!("step {step}") };
        if step == self.0 { Err(refuse()) } else { Ok(()) }
    }
}

/// Stops at the first report.
struct Stops;

impl Callback for Stops {
    fn name(&self) -> &str {
        "Stops"
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, control: &mut Control) -> Result<(), Error> {
        control.stop(format!("seen {}", batch.report.step));
        Ok(())
    }
}
