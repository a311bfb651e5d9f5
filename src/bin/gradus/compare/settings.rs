//! What determines the results of a comparison, kept beside them.

use anyhow::{Context, Result, bail};
use gradus::Gpu;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Args;
use super::contender::{contenders, from_text, usual};
use super::problem::Problem;

/// What was given, with defaults.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Settings {
    pub(crate) model: Value,
    pub(crate) data: Value,
    pub(crate) optimizers: Vec<Value>,
    pub(crate) schedule: Option<Value>,
    pub(crate) seeds: u64,
    pub(crate) epochs: u64,
    pub(crate) batch_size: usize,
}

/// All that has to be the same for runs to be comparable.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Whole {
    #[serde(flatten)]
    pub(crate) settings: Settings,
    /// CRC-32 of the data.
    checksum: u32,
    adapter: String,
    version: String,
}

impl Settings {
    /// What is not given is as in the folder, or the default.
    pub(crate) fn of(args: &Args, saved: Option<&Whole>) -> Result<Self> {
        let of = |text: &Option<String>, default: &str| match text {
            Some(text) => named(text),
            None => Ok(json!(default)),
        };
        let saved = saved.map(|whole| &whole.settings);
        let quick = |usual, quick| if args.quick { quick } else { usual };
        let optimizers = match (&args.optimizer[..], saved) {
            ([], Some(saved)) => saved.optimizers.clone(),
            ([], None) => usual(),
            (given, _) => given.iter().map(|text| from_text(text)).collect::<Result<_>>()?,
        };
        let schedule = args
            .schedule
            .as_ref()
            .map(|text| serde_json::from_str::<Value>(text).with_context(|| format!("--schedule {text}")));
        let batch_size = args.batch_size.map(usize::try_from).transpose()?;
        Ok(Self {
            model: match (saved, &args.model) {
                (Some(saved), None) => saved.model.clone(),
                _ => of(&args.model, if args.quick { "mlp" } else { "cnn" }).context("--model")?,
            },
            data: match (saved, &args.data) {
                (Some(saved), None) => saved.data.clone(),
                _ => of(&args.data, "digits").context("--data")?,
            },
            optimizers,
            schedule: schedule.transpose()?.or_else(|| saved.and_then(|saved| saved.schedule.clone())),
            seeds: args.seeds.or(saved.map(|saved| saved.seeds)).unwrap_or(quick(5, 2)),
            epochs: args.epochs.or(saved.map(|saved| saved.epochs)).unwrap_or(quick(20, 3)),
            batch_size: batch_size.or(saved.map(|saved| saved.batch_size)).unwrap_or(32),
        })
    }
}

/// A name, or JSON.
fn named(text: &str) -> Result<Value> {
    if text.trim_start().starts_with('{') {
        return Ok(serde_json::from_str(text)?);
    }
    Ok(json!(text))
}

impl Whole {
    pub(crate) fn new(settings: Settings, problem: &Problem, gpu: &Gpu) -> Self {
        let settings =
            Settings { model: problem.model_json.clone(), data: problem.data_json.clone(), ..settings };
        let info = gpu.info();
        Self {
            settings,
            checksum: problem.checksum,
            adapter: format!("{} ({:?}, {})", info.name, info.backend, info.driver_info),
            version: env!("CARGO_PKG_VERSION").into(),
        }
    }

    /// Refuses to go on with runs of other settings.
    pub(crate) fn check(&self, saved: &Self) -> Result<()> {
        let (now, then) = (serde_json::to_value(self)?, serde_json::to_value(saved)?);
        for (key, then) in then.as_object().into_iter().flatten() {
            if now[key] == *then || key == "optimizers" && self.has_same_optimizers(saved)? {
                continue;
            }
            let now = &now[key];
            let option = match &key[..] {
                "checksum" => {
                    bail!("its data had checksum {then}, not {now}: they have changed; choose another --out")
                }
                "adapter" | "version" => bail!("its {key} is {then}, not {now}: choose another --out"),
                "optimizers" => "optimizer",
                "batch_size" => "batch-size",
                key => key,
            };
            let then = if then.is_null() { "none".into() } else { then.to_string() };
            bail!(
                "its --{option} is {then}, not {now}: leave the option out to go on with that, or choose another --out"
            );
        }
        Ok(())
    }

    /// Whether they are the same in the same order, with all defaults.
    fn has_same_optimizers(&self, saved: &Self) -> Result<bool> {
        let (now, then) = (contenders(&self.settings.optimizers)?, contenders(&saved.settings.optimizers)?);
        Ok(now.len() == then.len() && now.iter().zip(&then).all(|(now, then)| now.is_same(then)))
    }
}
