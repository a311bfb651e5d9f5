//! The training of a run.

use anyhow::Result;
use gradus::graph::{Dtype, Graph, HostData};
use gradus::optim::AnyRule;
use gradus::train::callbacks::Callbacks;
use gradus::train::data::{BatchSource, DataLoader, Dataset, Target};
use gradus::train::{FitOptions, Trainer, Validation, report};
use gradus::{Error, Gpu, GpuOptions};

use super::checks::{check_monitors, of_layer, of_trainer, steps_per_epoch};
use super::goal::Goal;
use super::loss::Loss;
use super::settings::Settings;
use super::{Place, outputs, say};

/// Samples in a batch of an evaluation.
const EVALUATION_BATCH: usize = 120;

/// Builds everything, then opens the folder, trains, and writes what was reached. The model says `count` numbers or more
/// about a sample.
pub(super) fn train<Y: Goal>(
    mut settings: Settings,
    place: &Place,
    loss: &Loss,
    (train, test): (&Dataset<Y>, &Dataset<Y>),
    count: usize,
) -> Result<()>
where
    [Y]: HostData,
{
    check_monitors(&settings, Y::METRICS)?;
    let mut source = loader(&settings, train)?;
    let batches = source.batches_per_epoch().unwrap_or(0);
    let steps = steps_per_epoch(&settings, batches)?;
    let title = title(&settings, train);
    let mut trainer = trainer(&mut settings, loss, (train, count), steps)?;
    let mut callbacks = Callbacks::new();
    let info = trainer.run_info(settings.epochs, steps);
    for (at, callback) in std::mem::take(&mut settings.callbacks) {
        let refuse = |error: Error| {
            at.as_ref().map_or_else(|| error.clone(), |at| settings.document.refuse(at, &error))
        };
        callback.check(&info).map_err(refuse)?;
        callbacks.push(callback);
    }
    let gpu = trainer.params().gpu().clone();
    let _lock = place.open(&settings, &gpu)?;
    let (train_samples, test_samples) = (train.len(), test.len());
    let info = gpu.info();
    say(format_args!(
        "{} ({:?}); {train_samples} samples to train on, {test_samples} to test on",
        info.name, info.backend
    ))?;
    let (x, y) = (test.numbers(), test.y());
    let validation = Validation { data: &[("x", &x), ("y", &y)], batch: EVALUATION_BATCH };
    let options = FitOptions {
        epochs: settings.epochs,
        validation: Some(validation),
        resume: place.checkpoint.as_ref(),
        run: place.identity.to_map(),
        ..FitOptions::default()
    };
    let done = trainer.fit(&mut source, &options, &mut callbacks)?;
    drop(callbacks);
    trainer.params().read_weights()?.write(place.out.join(outputs::MODEL))?;
    if !done.history.rows().is_empty() {
        place.write(outputs::REPORT, &report::svg(&done.history, &title)?)?;
    }
    let mut said = vec![("test", trainer.evaluate(validation.data, EVALUATION_BATCH)?)];
    if settings.averages.is_some() {
        let averaged =
            trainer.with_averages(|trainer| trainer.evaluate(validation.data, EVALUATION_BATCH))?;
        said.push(("test with averages", averaged));
    }
    for (what, reached) in said {
        let metrics = Y::METRICS.iter().zip(&reached.metrics);
        let metrics: String = metrics.map(|(name, value)| format!(", {name} {value:.4}")).collect();
        say(format_args!("{what}: loss {:.4}{metrics}", reached.loss))?;
    }
    Ok(())
}

fn loader<'d, Y: Target>(
    settings: &Settings,
    train: &'d Dataset<Y>,
) -> Result<DataLoader<&'d Dataset<Y>, Y>, Error> {
    let mut source = DataLoader::new(train, settings.batch_size)?;
    if settings.shuffle {
        source = source.shuffle(settings.seed);
    }
    if settings.drop_last {
        source = source.drop_last();
    }
    if source.batches_per_epoch() == Some(0) {
        let (samples, batch) = (train.len(), settings.batch_size);
        let reason = format!("the {samples} training samples make no whole batch of {batch}");
        return Err(settings.document.wrong("drop_last", &reason));
    }
    Ok(source)
}

fn trainer<Y: Goal>(
    settings: &mut Settings,
    loss: &Loss,
    (train, count): (&Dataset<Y>, usize),
    steps: u64,
) -> Result<Trainer<Box<dyn AnyRule>>, Error> {
    let batch = settings.batch_size.min(train.len());
    let graph = Graph::new();
    let x = graph.input("x", [&[batch], train.shape()].concat());
    let y = Y::input(&graph, batch, train.target_shape());
    let outputs = settings.model.outputs(&x, count);
    let samples = || format!("samples of shape {:?}", train.shape());
    let of_model = |error: &Error| {
        let place = of_layer(&settings.model, error);
        let placed = settings.document.refuse(&place, error);
        match placed {
            Error::File { path, reason } => {
                Error::File { path, reason: format!("{reason}, for {}", samples()) }
            }
            other => other,
        }
    };
    graph.check().map_err(|error| of_model(&error))?;
    let fitted = Y::fitted(&outputs, batch, count, train.target_shape()).map_err(|expected| {
        let reason = format!("its outputs have the shape {:?}, expected {expected}", outputs.shape());
        settings.document.wrong("model", &reason)
    })?;
    let loss = loss.of(&fitted, &y);
    graph.check().map_err(|error| settings.document.refuse("loss", &error))?;
    let mut builder = graph
        .trainer(&loss, settings.rule.clone())
        .optimizer_options(settings.options.clone())
        .transforms(std::mem::take(&mut settings.transforms))
        .steps_per_epoch(steps)
        .seed(settings.seed);
    if let Some(schedule) = settings.schedule.take() {
        builder = builder.schedule(schedule);
    }
    if let Some(averages) = settings.averages.clone() {
        builder = builder.averages(averages);
    }
    if settings.autocast {
        builder = builder.autocast(Dtype::F16);
    }
    if let (Some(name), Some(metric)) = (Y::METRICS.first(), Y::metric(&fitted, &y)) {
        builder = builder.metric(name, &metric);
    }
    let gpu = Gpu::new(GpuOptions::default())?;
    builder.build(&gpu).map_err(|error| of_trainer(settings, &error))
}

/// What a report is called.
fn title<Y: Target>(settings: &Settings, train: &Dataset<Y>) -> String {
    let named = |key: &str| settings.complete.get(key).and_then(|table| table["name"].as_str());
    let size: Vec<String> = train.shape().iter().map(usize::to_string).collect();
    let parts = [
        format!("{} on {} samples of {}", settings.model, train.len(), size.join("x")),
        named("data").unwrap_or("data").to_owned(),
        settings.rule.name().to_owned(),
        named("schedule").unwrap_or("constant rate").to_owned(),
        format!("seed {}", settings.seed),
    ];
    parts.join(", ")
}
