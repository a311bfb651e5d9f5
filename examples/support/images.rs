//! Image classification: IDX files or UCI's digits, and a network that learns their classes.

use std::path::PathBuf;

use anyhow::{Context, Result};
use gradus::Gpu;
use gradus::graph::{Graph, Parameter, Var};
use gradus::train::data::{Dataset, Normalization, ResidentDataset, Values, idx};
use gradus::train::{Checkpoint, Evaluation};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::digits::{self, SIDE, to_byte};
use crate::options::{Length, Options, Training};
use crate::run::{Run, Saved, Steps, Task, Trainer};

/// Samples per evaluation step.
pub(crate) const EVALUATION_BATCH: usize = 120;

#[derive(clap::Args)]
pub(crate) struct Source {
    /// Folder with IDX files such as MNIST's: train-images-idx3-ubyte and so on, optionally .gz. Default: the UCI
    /// digits.
    #[arg(long)]
    pub(crate) data: Option<PathBuf>,
    /// Shuffles the labels of the training images, to check that nothing can be learned then.
    #[arg(long)]
    pub(crate) shuffle_labels: bool,
    /// Keeps training and test set on the device; a step uploads only the indices of its images.
    #[arg(long)]
    pub(crate) resident: bool,
}

/// Properties of the images that a model depends on. Stored in the model's file.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Images {
    pub(crate) shape: Vec<usize>,
    pub(crate) classes: u32,
    pub(crate) train_samples: usize,
    /// CRC-32 of the training and test set, to identify them.
    checksum: u32,
    pub(crate) normalization: Normalization,
}

/// The sets, normalised by the training set's mean and deviation.
pub(crate) struct Sets {
    pub(crate) images: Images,
    pub(crate) train: Dataset,
    pub(crate) test: Dataset,
}

impl Source {
    /// The unnormalised training and test set. The digits have 8x8 pixels from 0 to 16, or are resized to `side`
    /// pixels from 0 to 255.
    pub(crate) fn read(&self, side: usize) -> Result<(Dataset, Dataset)> {
        if let Some(folder) = self.data.as_deref() {
            return Ok(idx::read_dir(folder)?);
        }
        let [train, test] = digits::read()?.map(|digits| {
            let pixels = match side {
                SIDE => digits.pixels.iter().map(|&pixel| to_byte(pixel)).collect(),
                _ => digits.enlarged(&digits::bilinear(side)),
            };
            let labels = digits.labels.iter().map(|&label| label.into()).collect();
            Dataset::from_u8(pixels, &[1, side, side], labels, 10)
        });
        Ok((train?, test?))
    }
}

impl Sets {
    pub(crate) fn new((train, test): (Dataset, Dataset)) -> Result<Self> {
        let normalization = Normalization::fit(&train)?;
        let images = Images {
            shape: train.shape().to_vec(),
            classes: train.n_classes(),
            train_samples: train.len(),
            checksum: checksum(&[&train, &test]),
            normalization: normalization.clone(),
        };
        Ok(Self { images, train: train.normalized(&normalization)?, test: test.normalized(&normalization)? })
    }
}

fn checksum(sets: &[&Dataset]) -> u32 {
    let mut sum = crc32fast::Hasher::new();
    for set in sets {
        match set.values() {
            Values::U8(bytes) => sum.update(bytes),
            Values::F32(numbers) => sum.update(bytemuck::cast_slice(numbers)),
        }
        sum.update(bytemuck::cast_slice(set.y()));
    }
    sum.finalize()
}

impl Images {
    /// Why a run that was started with other data cannot be resumed with these; `None` if it can.
    pub(crate) fn difference(&self, saved: &Self) -> Option<String> {
        let of = |images: &Self| {
            let Self { shape, classes, train_samples, checksum, .. } = images;
            format!("{train_samples} of {shape:?} in {classes} classes, checksum {checksum:08x}")
        };
        let (ours, theirs) = (of(self), of(saved));
        (self != saved).then(|| format!("its images are others than those of --data: {theirs}, not {ours}"))
    }
}

/// A network in training: its trainer, its logits, and the length of the training.
pub(crate) type Network = (Trainer, Var, Length);

/// A network that learns image classes by cross-entropy. Errors call it `name`; `group` returns the group of each
/// parameter.
pub(crate) fn network(
    gpu: &Gpu,
    (name, images): (&str, &Images),
    (training, epochs): (&Training, usize),
    logits: impl FnOnce(&Var, usize) -> Var,
    group: fn(&Parameter) -> String,
) -> Result<Network> {
    let batch_size = training.batch_size;
    let optimizer = training.optimizer()?;
    let steps_per_epoch = images.train_samples.div_ceil(batch_size);
    let length = Length::of_epochs(epochs, steps_per_epoch)?;
    let schedule = training.schedule(length)?;
    let graph = Graph::new();
    let x = graph.input("x", [&[batch_size], &images.shape[..]].concat());
    let y = graph.labels("y", batch_size);
    let logits = logits(&x, images.classes as usize);
    let trainer = graph.trainer(&logits.cross_entropy(&y), optimizer);
    let trainer = training
        .average(training.cast(trainer))?
        .schedule(schedule)
        .steps_per_epoch(steps_per_epoch as u64)
        .metric("accuracy", &logits.accuracy(&y))
        .seed(training.seed)
        .groups(group)
        .build(gpu)
        .with_context(|| format!("{name} on images of {:?}, --batch-size {batch_size}", images.shape))?;
    Ok((trainer, logits, length))
}

/// All parameters in one group.
pub(crate) fn one_group(_: &Parameter) -> String {
    "default".into()
}

/// The settings that determine the results of a run: options and images.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Settings<C> {
    pub(crate) config: C,
    pub(crate) images: Images,
}

/// Image classification as a task: batches, and the accuracy on the test set.
pub(crate) struct Classify<C> {
    pub(crate) settings: Settings<C>,
    name: String,
    training: Training,
    train: Dataset,
    test: Dataset,
    on_device: Option<(ResidentDataset, ResidentDataset)>,
}

impl<C> Classify<C> {
    /// Trains the network `name`. The data stay on the host, or are uploaded once if `resident`.
    pub(crate) fn new(
        gpu: &Gpu,
        name: String,
        (config, training): (C, &Training),
        sets: Sets,
        resident: bool,
    ) -> Result<Self> {
        let Sets { images, train, test } = sets;
        let on_device = || anyhow::Ok((train.to_device(gpu)?, test.to_device(gpu)?));
        let on_device = resident.then(on_device).transpose()?;
        let settings = Settings { config, images };
        Ok(Self { settings, name, training: training.clone(), train, test, on_device })
    }
}

impl<C: Serialize + DeserializeOwned> Task for Classify<C> {
    type Settings = Settings<C>;
    const METRICS: &'static [&'static str] = &["accuracy"];

    fn samples(&self, step: usize) -> usize {
        let place = step * self.training.batch_size;
        self.training.batch_size.min(self.train.len() - place)
    }

    fn steps(&self, _: &mut Trainer, epoch: u64, from: u64) -> Result<Steps<'_>> {
        const EVERY: &str = "there are as many batches as steps";
        let Training { seed, batch_size, .. } = self.training;
        let mut from = usize::try_from(from).context("too many steps")?;
        let shuffled = self.train.shuffled(seed, epoch);
        let order = shuffled.order().to_vec();
        let mut batches = shuffled.batches(batch_size)?.skip_to(from)?;
        Ok(match &self.on_device {
            Some((train, _)) => Box::new(move |trainer| {
                let rows = order.chunks(batch_size).nth(from).context(EVERY)?;
                from += 1;
                Ok(trainer.step(&[("x", &train.x.rows(rows)), ("y", &train.y.rows(rows))])?)
            }),
            None => Box::new(move |trainer| {
                let batch = batches.next().context(EVERY)?;
                Ok(trainer.step(&[("x", &batch.x), ("y", &batch.y)])?)
            }),
        })
    }

    fn evaluate(&self, trainer: &mut Trainer) -> Result<Evaluation> {
        let test = &self.test;
        Ok(match &self.on_device {
            Some((_, on_device)) => {
                let all: Vec<u32> = (0..u32::try_from(test.len())?).collect();
                let data = (on_device.x.rows(&all), on_device.y.rows(&all));
                trainer.evaluate(&[("x", &data.0), ("y", &data.1)], EVALUATION_BATCH)?
            }
            None => trainer.evaluate(&[("x", &test.numbers()), ("y", &test.y())], EVALUATION_BATCH)?,
        })
    }

    fn title(&self, trainer: &Trainer, test: &Evaluation) -> String {
        let Self { name, training, .. } = self;
        let (optimizer, schedule) = (trainer.optimizer().name(), training.schedule_name());
        let size = self.settings.images.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let data = format!("{} images of {size}", self.train.len());
        let (seed, accuracy) = (training.seed, test.metrics[0] * 100.0);
        format!("{name} on {data}, {optimizer}, {schedule}, seed {seed}: test accuracy {accuracy:.2} %")
    }
}

/// The options of a run. For a resumed run, they come from its file.
pub(crate) fn config<C>(
    resumed: Option<&(Checkpoint, Saved<Settings<C>>)>,
    config: impl FnOnce(Option<&C>) -> Result<C>,
) -> Result<C> {
    match resumed {
        Some((checkpoint, saved)) => {
            Ok(config(Some(&saved.settings.config)).map_err(|e| checkpoint.refuse(e.to_string()))?)
        }
        None => config(None),
    }
}

/// Starts a run, or continues the `resumed` one.
pub(crate) fn start<'a, C, T>(
    task: &'a T,
    (trainer, _, length): Network,
    settings: &Settings<C>,
    resumed: Option<(Checkpoint, Saved<Settings<C>>)>,
    options: &Options,
) -> Result<Run<'a, T>>
where
    C: Clone + Serialize + DeserializeOwned,
    T: Task<Settings = Settings<C>>,
{
    let mut run = Run::new(trainer, task, length, settings.clone())?;
    if let Some((checkpoint, saved)) = resumed {
        if let Some(reason) = settings.images.difference(&saved.settings.images) {
            return Err(checkpoint.refuse(reason).into());
        }
        run.resume(&checkpoint, saved)?;
    }
    run.keep(options)?;
    Ok(run)
}
