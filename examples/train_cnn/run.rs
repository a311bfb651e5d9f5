//! A run: epochs, what they have taught, and the files that keep it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use gradus::train::data::ResidentDataset;
use gradus::train::files::{self, FolderLock};
use gradus::train::{Checkpoint, Evaluation, History, StepReport, report};
use gradus::{Error, Gpu};
use serde::{Deserialize, Serialize};

use crate::args::Config;
use crate::data::{Images, Sets};
use crate::model::Network;
use crate::progress::Progress;

/// Samples of a step that only evaluates.
pub(crate) const EVALUATION_BATCH: usize = 120;

pub(crate) const MODEL: &str = "model.safetensors";
const HISTORY: &str = "history.csv";
const REPORT: &str = "report.svg";

/// What the model's file holds beside the model.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Saved {
    pub(crate) config: Config,
    pub(crate) images: Images,
    epoch_so_far: Means,
    history: History,
}

/// Sums over the samples of an epoch.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Means {
    samples: u64,
    loss: f64,
    accuracy: f64,
}

impl Means {
    fn add(&mut self, report: &StepReport, samples: usize) {
        self.samples += samples as u64;
        self.loss += f64::from(report.loss) * samples as f64;
        self.accuracy += f64::from(report.metrics[0]) * samples as f64;
    }

    pub(crate) fn loss(&self) -> f64 {
        self.loss / self.samples as f64
    }

    pub(crate) fn accuracy(&self) -> f64 {
        self.accuracy / self.samples as f64
    }
}

impl Saved {
    pub(crate) fn of(checkpoint: &Checkpoint) -> Result<Self> {
        let run = checkpoint.run.clone().into();
        serde_json::from_value(run)
            .map_err(|e| checkpoint.refuse(format!("it is not a run of train_cnn: {e}")).into())
    }
}

/// The folder that a run is kept in, ready to be written and no other run's.
pub(crate) struct Folder {
    path: PathBuf,
    _lock: FolderLock,
}

impl Folder {
    /// Makes the folder if need be, finds out whether it can be written and nobody else writes it, and sweeps what
    /// killed runs left.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let name = || format!("--out {} must be a folder that can be written", path.display());
        fs::create_dir_all(path).with_context(name)?;
        let lock = match FolderLock::new(path) {
            Err(error @ Error::Locked { .. }) => return Err(error.into()),
            lock => lock.with_context(name)?,
        };
        files::sweep(path, |target| [MODEL, HISTORY, REPORT].contains(&target))?;
        Ok(Self { path: path.to_owned(), _lock: lock })
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        Ok(files::write_atomic(self.path.join(name), |file| file.write_all(text.as_bytes()))?)
    }
}

/// A network in training.
pub(crate) struct Run<'a> {
    network: Network,
    sets: &'a Sets,
    resident: Option<(ResidentDataset, ResidentDataset)>,
    folder: Option<Folder>,
    save_every: u64,
    saved: Saved,
}

impl<'a> Run<'a> {
    pub(crate) fn new(gpu: &Gpu, config: &Config, sets: &'a Sets, resident: bool) -> Result<Self> {
        let network = Network::new(gpu, config, &sets.images)?;
        let on_device = || anyhow::Ok((sets.train.to_device(gpu)?, sets.test.to_device(gpu)?));
        let history = History::new(["train_loss", "train_accuracy", "test_loss", "test_accuracy", "lr"])?;
        Ok(Self {
            network,
            sets,
            resident: resident.then(on_device).transpose()?,
            folder: None,
            save_every: sets.train.len().div_ceil(config.batch_size) as u64,
            saved: Saved {
                config: config.clone(),
                images: sets.images.clone(),
                epoch_so_far: Means::default(),
                history,
            },
        })
    }

    pub(crate) fn keep_in(&mut self, folder: Folder, save_every: Option<usize>) {
        self.folder = Some(folder);
        self.save_every = save_every.map_or(self.save_every, |steps| steps as u64);
    }

    /// Goes on from a checkpoint of the same data and options.
    pub(crate) fn resume(&mut self, checkpoint: &Checkpoint, saved: Saved) -> Result<()> {
        if let Some(reason) = self.saved.images.difference(&saved.images) {
            return Err(checkpoint.refuse(reason).into());
        }
        self.network.trainer.load_checkpoint(checkpoint)?;
        self.saved = saved;
        Ok(())
    }

    /// Trains to the last epoch and returns the accuracy on the test set.
    pub(crate) fn train(&mut self) -> Result<f64> {
        let Config { epochs, batch_size, seed, .. } = self.saved.config;
        let steps_of_epoch = self.sets.train.len().div_ceil(batch_size);
        let done = self.network.trainer.steps();
        let progress = Progress::new(done, epochs.saturating_mul(steps_of_epoch) as u64);
        let done = usize::try_from(done).context("too many steps")?;
        for epoch in done / steps_of_epoch..epochs {
            let skipped = done.saturating_sub(epoch * steps_of_epoch);
            let batches =
                self.sets.train.shuffled(seed, epoch as u64).batches(batch_size)?.skip_to(skipped)?;
            let mut uploaded = batches.clone();
            for (number, rows) in (skipped + 1..).zip(batches.indices()) {
                let trainer = &mut self.network.trainer;
                match &self.resident {
                    Some((train, _)) => {
                        trainer.step(&[("x", &train.x.rows(rows)), ("y", &train.y.rows(rows))])?
                    }
                    None => {
                        let batch = uploaded.next().context("there are as many batches as rows")?;
                        trainer.step(&[("x", &batch.x), ("y", &batch.y)])?;
                    }
                }
                self.hear(&progress, false)?;
                if number < steps_of_epoch && self.network.trainer.steps().is_multiple_of(self.save_every) {
                    self.hear(&progress, true)?;
                    self.save()?;
                }
            }
            self.hear(&progress, true)?;
            self.end_epoch(&progress)?;
        }
        progress.finish();
        self.finish()
    }

    /// Takes the reports that have arrived, or waits for all.
    fn hear(&mut self, progress: &Progress, wait: bool) -> Result<()> {
        let Config { batch_size, .. } = self.saved.config;
        let (trainer, all) = (&mut self.network.trainer, self.sets.train.len());
        while let Some(report) = if wait { trainer.read_report()? } else { trainer.poll()? } {
            let (step, loss) = (report.step + 1, report.loss);
            ensure!(
                loss.is_finite(),
                "the run diverged, try a lower rate: the loss of step {step} is {loss}"
            );
            let place = usize::try_from(report.step)? % all.div_ceil(batch_size) * batch_size;
            self.saved.epoch_so_far.add(&report, batch_size.min(all - place));
            progress.step(
                report.step + 1,
                &self.saved.epoch_so_far,
                trainer.optimizer().group("default")?.lr(),
            );
        }
        Ok(())
    }

    fn end_epoch(&mut self, progress: &Progress) -> Result<()> {
        let test = self.evaluate()?;
        let means = std::mem::take(&mut self.saved.epoch_so_far);
        let (steps, epochs) = (self.network.trainer.steps(), self.saved.config.epochs);
        let rate = self.network.trainer.optimizer().group("default")?.lr();
        let epoch = self.saved.history.rows().len() + 1;
        let row = [means.loss(), means.accuracy(), test.loss, test.metrics[0], rate];
        self.saved.history.push(epoch as u64, steps, &row)?;
        self.network.trainer.observe(test.loss)?;
        progress.epoch(epoch, epochs, steps, &means, rate, test.metrics[0])?;
        if steps.is_multiple_of(self.save_every) && epoch < epochs {
            self.save()?;
        }
        Ok(())
    }

    fn evaluate(&mut self) -> Result<Evaluation> {
        let (trainer, test) = (&mut self.network.trainer, &self.sets.test);
        Ok(match &self.resident {
            Some((_, on_device)) => {
                let all: Vec<u32> = (0..u32::try_from(test.len())?).collect();
                let data = (on_device.x.rows(&all), on_device.y.rows(&all));
                trainer.evaluate(&[("x", &data.0), ("y", &data.1)], EVALUATION_BATCH)?
            }
            None => trainer.evaluate(&[("x", &test.numbers()), ("y", &test.y())], EVALUATION_BATCH)?,
        })
    }

    fn save(&mut self) -> Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        let mut checkpoint = self.network.trainer.read_checkpoint()?;
        if let serde_json::Value::Object(run) = serde_json::to_value(&self.saved)? {
            checkpoint.run = run;
        }
        checkpoint.write(folder.path.join(MODEL)).context("not saved, what was saved before stays")?;
        folder.write(HISTORY, &self.saved.history.to_csv())
    }

    fn finish(&mut self) -> Result<f64> {
        self.save()?;
        let accuracy = self.evaluate()?.metrics[0];
        if let Some(folder) = &self.folder {
            let Config { model, seed, .. } = self.saved.config;
            let (optimizer, schedule) = (self.network.trainer.optimizer().name(), self.schedule_name());
            let size = self.saved.images.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
            let data = format!("{} images of {size}", self.sets.train.len());
            let title = format!(
                "{model} on {data}, {optimizer}, {schedule}, seed {seed}: test accuracy {:.2} %",
                accuracy * 100.0
            );
            folder.write(REPORT, &report::svg(&self.saved.history, &title)?)?;
        }
        Ok(accuracy)
    }

    fn schedule_name(&self) -> String {
        let given = self.saved.config.schedule.as_ref().and_then(|json| json["name"].as_str());
        given.unwrap_or("OneCycleLR").into()
    }
}
