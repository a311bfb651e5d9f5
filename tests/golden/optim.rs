//! `optim/cases.json`: parameters after recorded gradients.

use anyhow::{Context, Result};
use gradus::optim::RULES;
use gradus::{Gpu, GpuOptions};
use serde_json::{Map, Value};

use crate::harness::{Envelope, Folder, Report};
use crate::not_yet::NotYet;
use crate::recorded::replay;
use crate::schedules::uses_any;

pub(crate) fn run(folder: &Folder, not_yet: &NotYet) -> Report {
    Report::of(|report| {
        let gpu = match Gpu::new(crate::kernels::asked(GpuOptions::default())) {
            Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
                println!("golden optim: SKIPPED, {error}");
                return Ok(());
            }
            gpu => gpu?,
        };
        let file = folder.json("optim/cases.json")?;
        let known: Vec<&str> = RULES.iter().map(|entry| entry.name).collect();
        report.refuse_stale("optimizer", not_yet.optimizers, &known);
        let waits = |body: &Map<String, Value>| {
            body.keys().any(|key| not_yet.keys.contains(&key.as_str()))
                || body.get("optimizer").is_some_and(|optimizer| uses_any(optimizer, not_yet.optimizers))
                || body.get("schedule").is_some_and(|schedule| uses_any(schedule, not_yet.schedules))
        };
        let cases = file.get("cases").context("optim/cases.json: no `cases`")?;
        let folder = Folder::at(folder.0.join("optim"));
        report.check(cases, waits, |envelope, body| check(&gpu, &folder, envelope, body))
    })
}

fn check(gpu: &Gpu, folder: &Folder, envelope: &Envelope, body: Map<String, Value>) -> Result<()> {
    let tolerance = envelope.tol.context("no tolerance")?;
    replay(gpu, folder, envelope, body, |check| {
        tolerance.times(check.width).compare(&check.place.to_string(), check.got, check.want)
    })
}
