//! Runs recorded gradients through any configuration, and compares the resulting parameters with recorded ones.

mod files;
mod recorded;

use std::io::{Write, stdout};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use gradus::{Gpu, GpuOptions};
use serde_json::{Map, Value};

use files::{Envelope, Folder, Tolerance, error};
use recorded::{Place, replay};

/// Runs recorded gradients through any configuration, and compares the resulting parameters with recorded ones.
///
/// The exit code is 1 if a case exceeds its tolerance, and 2 if a case cannot be run.
#[derive(Parser)]
struct Args {
    /// The cases, such as tests/golden/optim/cases.json, with their safetensors files in the same folder.
    #[arg(value_name = "CASES.json")]
    cases: PathBuf,
    /// Runs only this case.
    #[arg(long, value_name = "ID")]
    case: Option<String>,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: &Args) -> Result<ExitCode> {
    let folder = Folder::at(args.cases.parent().unwrap_or(Path::new("")));
    let name = args.cases.file_name().and_then(|name| name.to_str()).context("CASES.json is a file")?;
    let cases = read(&folder.json(name)?, args.case.as_deref())?;
    let gpu = Gpu::new(GpuOptions::default())?;
    let mut out = stdout().lock();
    let (mut exceeded, mut broken) = (false, false);
    for (id, envelope, body) in cases {
        let mut worst = Worst::default();
        let done = replay(&gpu, &folder, &envelope, body, |check| {
            for (&got, &want) in check.got.iter().zip(check.want) {
                if check.place.stats.is_none() {
                    worst.error.see(error(got, want), check.place);
                }
                if let Some(tolerance) = envelope.tol {
                    worst.part.see(tolerance.times(check.width).part(got, want), check.place);
                }
            }
            Ok(())
        });
        let line = match &done {
            Ok(()) => worst.line(envelope.tol),
            Err(error) => format!("cannot be run: {error:#}"),
        };
        writeln!(out, "{id:<28} {line}")?;
        broken |= done.is_err();
        exceeded |= done.is_ok() && worst.exceeds(envelope.tol);
    }
    Ok(if exceeded {
        ExitCode::from(1)
    } else if broken {
        ExitCode::from(2)
    } else {
        ExitCode::SUCCESS
    })
}

type Case = (String, Envelope, Map<String, Value>);

/// All cases with their names, or the requested one.
fn read(file: &Value, wanted: Option<&str>) -> Result<Vec<Case>> {
    let list = file.get("cases").and_then(Value::as_array).context("CASES.json: no list `cases`")?;
    let mut cases = Vec::new();
    for (index, case) in list.iter().enumerate() {
        let (envelope, body) = Envelope::open(case).with_context(|| format!("case {index}"))?;
        cases.push((envelope.id.clone().unwrap_or_else(|| format!("case {index}")), envelope, body));
    }
    let Some(wanted) = wanted else { return Ok(cases) };
    let known: Vec<String> = cases.iter().map(|(id, ..)| id.clone()).collect();
    cases.retain(|(id, ..)| id == wanted);
    if cases.is_empty() {
        bail!("--case: there is no {wanted:?}; known: {}", known.join(", "));
    }
    Ok(cases)
}

/// The largest deviations of a case from the recorded values.
#[derive(Default)]
struct Worst {
    error: Largest,
    part: Largest,
}

impl Worst {
    fn exceeds(&self, tolerance: Option<Tolerance>) -> bool {
        tolerance.is_some() && (self.part.value > 1.0 || self.part.value.is_nan())
    }

    fn line(&self, tolerance: Option<Tolerance>) -> String {
        let error = format!("largest error {:.3e}{}", self.error.value, self.error.at());
        if tolerance.is_none() {
            return format!("{error}, no tolerance");
        }
        let verdict = if self.exceeds(tolerance) { "EXCEEDED" } else { "ok" };
        format!("{error}, {:.3} of the tolerance{}: {verdict}", self.part.value, self.part.at())
    }
}

/// The largest value and its position. NaN is larger than any number.
#[derive(Default)]
struct Largest {
    value: f64,
    place: Option<Place>,
}

impl Largest {
    fn see(&mut self, value: f64, place: Place) {
        // `abs` for the sign of a NaN.
        if self.place.is_none() || value.abs().total_cmp(&self.value).is_gt() {
            *self = Self { value: value.abs(), place: Some(place) };
        }
    }

    fn at(&self) -> String {
        self.place.map_or(String::new(), |place| format!(" ({place})"))
    }
}
