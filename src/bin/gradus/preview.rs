//! `gradus preview`: learning-rate schedules in the terminal, as CSV and as an SVG picture.

mod terminal;

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use gradus::schedule::{self, Interval, Schedule};
use gradus::train::{files, report};
use serde_json::Value;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Schedule as JSON, such as '{"name": "StepLR", "step_size": 200}'. Repeat for several curves.
    #[arg(long, required = true, value_name = "JSON")]
    schedule: Vec<String>,
    /// Updates to show.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    steps: u64,
    /// The base learning rate.
    #[arg(long, allow_negative_numbers = true)]
    base_lr: f64,
    /// Updates per epoch, for schedules whose interval is epoch.
    #[arg(long, value_parser = clap::value_parser!(u64).range(1..))]
    steps_per_epoch: Option<u64>,
    /// Values of the metric for a schedule that follows one, one after each step, such as 0.9,0.7,0.7.
    #[arg(long, value_delimiter = ',', allow_hyphen_values = true)]
    metrics: Vec<f64>,
    /// Folder for lr.csv and lr.svg.
    #[arg(long, default_value = "preview")]
    out: PathBuf,
}

/// Prints the curves, and writes them into the folder.
pub(crate) fn run(args: &Args) -> Result<()> {
    ensure!(args.base_lr.is_finite(), "--base-lr must be finite, got {}", args.base_lr);
    let mut curves = Vec::new();
    for text in &args.schedule {
        let place = || format!("--schedule {text}");
        let json: Value = serde_json::from_str(text).with_context(place)?;
        curves.push((
            label(&json),
            rates(schedule::from_json(&json).with_context(place)?, args).with_context(place)?,
        ));
    }
    let mut said = terminal::plot(&curves);
    let title = format!("Learning rate of {} steps from {}", args.steps, args.base_lr);
    let svg = report::overlay(&title, "step", "lr", &curves)?;
    fs::create_dir_all(&args.out).with_context(|| args.out.display().to_string())?;
    let _lock = files::FolderLock::new(&args.out)?;
    files::sweep(&args.out, |target| ["lr.csv", "lr.svg"].contains(&target))?;
    for (name, text) in [("lr.csv", csv(&curves)), ("lr.svg", svg)] {
        let path = args.out.join(name);
        files::write_atomic(&path, |file| file.write_all(text.as_bytes()))?;
        said += &format!("{}\n", path.display());
    }
    // Not `print!`, which panics if the reader of a pipe has exited.
    Ok(std::io::stdout().write_all(said.as_bytes())?)
}

fn rates(mut schedule: Box<dyn Schedule>, args: &Args) -> Result<Vec<f64>> {
    ensure!(!schedule.takes_metric() || !args.metrics.is_empty(), "it follows a metric: see --metrics");
    let length = match schedule.interval() {
        Interval::Step => 1,
        Interval::Epoch => args.steps_per_epoch.context("its interval is epoch: see --steps-per-epoch")?,
    };
    let mut metrics = args.metrics.iter();
    let mut rates = Vec::new();
    for step in 0..args.steps {
        rates.push(schedule.at(step / length, args.base_lr)?.lr);
        if let Some(metric) = metrics.next() {
            schedule.observe(*metric)?;
        }
    }
    Ok(rates)
}

/// The name and the fields, such as `StepLR step_size 10, gamma 0.5`.
fn label(json: &Value) -> String {
    let Some(fields) = json.as_object() else { return json.to_string() };
    let name = |json: &Value| json.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let parts = fields.iter().filter(|(field, _)| *field != "name").map(|(field, value)| match value {
        Value::Array(list) if field == "schedulers" => {
            list.iter().map(label).map(|inner| format!("({inner})")).collect::<Vec<_>>().join(" ")
        }
        Value::String(text) => format!("{field} {text}"),
        other => format!("{field} {other}"),
    });
    [name(json), parts.collect::<Vec<_>>().join(", ")].join(" ").trim_end().to_owned()
}

/// One column per schedule, headed by its name.
fn csv(curves: &[(String, Vec<f64>)]) -> String {
    let mut seen: HashMap<&str, u32> = HashMap::new();
    let mut text = "step".to_owned();
    for (label, _) in curves {
        let name = label.split(' ').next().unwrap_or_default();
        let count = seen.entry(name).and_modify(|count| *count += 1).or_insert(1);
        text += &if *count == 1 { format!(",{name}") } else { format!(",{name}_{count}") };
    }
    for step in 0..curves[0].1.len() {
        text += &format!("\n{step}");
        for (_, rates) in curves {
            text += &format!(",{}", rates[step]);
        }
    }
    text + "\n"
}
