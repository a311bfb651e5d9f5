//! `schedules.json`: rates and momenta by step.

use anyhow::{Context, Result, ensure};
use gradus::schedule::{self, Point, SCHEDULES, Schedule};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::harness::{Envelope, Folder, Report, Tolerance};
use crate::not_yet::NotYet;

/// Both sides compute in f64, in another order.
const TOLERANCE: Tolerance = Tolerance { rtol: 1e-12, atol: 1e-15 };

pub(crate) fn run(folder: &Folder, not_yet: &NotYet) -> Report {
    Report::of(|report| check_all(report, &folder.json("schedules.json")?, not_yet.schedules))
}

fn check_all(report: &mut Report, file: &Value, not_yet: &[&str]) -> Result<()> {
    let known: Vec<&str> = SCHEDULES.iter().map(|entry| entry.name).collect();
    report.refuse_stale("schedule", not_yet, &known);
    let cases = file.get("schedules").context("schedules.json: no `schedules`")?;
    let waits =
        |body: &Map<String, Value>| body.get("schedule").is_some_and(|schedule| uses_any(schedule, not_yet));
    report.check(cases, waits, check)
}

/// Whether a schedule, or one inside it, has one of the names.
pub(crate) fn uses_any(schedule: &Value, names: &[&str]) -> bool {
    let inner = schedule.get("schedulers").and_then(Value::as_array);
    schedule.get("name").and_then(Value::as_str).is_some_and(|name| names.contains(&name))
        || inner.into_iter().flatten().any(|schedule| uses_any(schedule, names))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    base_lr: Option<Base>,
    schedule: Value,
    lr: Vec<f64>,
    lr_groups: Option<Vec<Vec<f64>>>,
    momentum: Option<Vec<f64>>,
    /// One for each step, told after it.
    metrics: Option<Vec<f64>>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Base {
    One(f64),
    Groups(Vec<f64>),
}

fn check(envelope: &Envelope, body: Map<String, Value>) -> Result<()> {
    let case: Case = serde_json::from_value(Value::Object(body))?;
    let tolerance = envelope.tol.unwrap_or(TOLERANCE);
    let mut schedule = schedule::from_json(&case.schedule)?;
    // Without a base rate the schedule must not use one: a NaN shows where it does.
    let bases = match case.base_lr {
        None => vec![f64::NAN],
        Some(Base::One(base)) => vec![base],
        Some(Base::Groups(bases)) => bases,
    };
    let metrics = case.metrics.as_deref().unwrap_or_default();
    ensure!(metrics.is_empty() != schedule.takes_metric(), "{} metrics for {schedule:?}", metrics.len());
    let groups = case.lr_groups.unwrap_or_default();
    let steps = groups.iter().map(Vec::len).fold(case.lr.len(), usize::max);
    let points = points(&mut schedule, &bases, metrics, steps)?;
    let first = points.first().context("base_lr is empty")?;
    tolerance.compare("lr at step", &rates(&first[..case.lr.len()]), &case.lr)?;
    if !groups.is_empty() {
        ensure!(groups.len() == bases.len(), "{} groups, but {} base rates", groups.len(), bases.len());
        for (index, (want, got)) in groups.iter().zip(&points).enumerate() {
            tolerance.compare(&format!("lr of group {index} at step"), &rates(&got[..want.len()]), want)?;
        }
    }
    if let Some(want) = &case.momentum {
        let got: Option<Vec<f64>> = first[..case.lr.len()].iter().map(|point| point.momentum).collect();
        let got = got.context("the schedule gives no momentum")?;
        tolerance.compare("momentum at step", &got, want)?;
    }
    Ok(())
}

/// What holds at each step for each base rate, with a metric told after each step if there are any.
fn points(
    schedule: &mut dyn Schedule,
    bases: &[f64],
    metrics: &[f64],
    steps: usize,
) -> Result<Vec<Vec<Point>>> {
    let mut points = vec![Vec::new(); bases.len()];
    for step in 0..steps {
        for (points, base) in points.iter_mut().zip(bases) {
            points.push(schedule.at(step as u64, *base).with_context(|| format!("step {step}"))?);
        }
        if let Some(metric) = metrics.get(step) {
            schedule.observe(*metric).with_context(|| format!("metric {step}"))?;
        }
    }
    Ok(points)
}

fn rates(points: &[Point]) -> Vec<f64> {
    points.iter().map(|point| point.lr).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::not_yet::NOT_YET;

    fn report_of(case: Value, not_yet: &[&str]) -> Report {
        Report::of(|report| check_all(report, &json!({"schedules": [case]}), not_yet))
    }

    #[test]
    fn a_wrong_number_fails_with_its_step() {
        let step = json!({"name": "StepLR", "step_size": 1, "gamma": 0.5});
        let cycle = json!({"name": "OneCycleLR", "max_lr": 1, "total_steps": 3, "pct_start": 0});
        let rows = [
            (json!({"schedule": step, "base_lr": 1, "lr": [1, 0.5, 0.25]}), None),
            (
                json!({"schedule": step, "base_lr": 1, "lr": [1, 0.5, 0.250000000001]}),
                Some("lr at step 2: got 0.25, expected 0.250000000001"),
            ),
            (
                json!({"schedule": step, "base_lr": [1, 2], "lr": [1], "lr_groups": [[1, 0.5], [2, 0.5]]}),
                Some("lr of group 1 at step 1: got 1.0, expected 0.5"),
            ),
            (
                json!({"schedule": step, "base_lr": [1, 2], "lr": [1], "lr_groups": [[1]]}),
                Some("1 groups, but 2 base rates"),
            ),
            (
                json!({"schedule": step, "lr": [1]}),
                Some("step 0: learning rate at step 0 must be finite, got NaN"),
            ),
            (
                json!({"schedule": step, "base_lr": 1, "lr": [1], "momentum": [0.9]}),
                Some("the schedule gives no momentum"),
            ),
            (
                json!({"schedule": cycle, "lr": [0, 0, 0, 0, 0], "tol": {"rtol": 0, "atol": 9}}),
                Some("step 4: step must be at most 3, the total_steps of OneCycleLR, got 4"),
            ),
            (
                json!({"schedule": step, "base_lr": 1, "lr": [1], "warmup": 3}),
                Some("unknown field `warmup`, expected one of"),
            ),
            (
                json!({"schedule": {"name": "StepLr"}, "base_lr": 1, "lr": [1]}),
                Some("unknown schedule \"StepLr\", did you mean \"StepLR\"?"),
            ),
        ];
        for (case, failure) in rows {
            let report = report_of(case, &[]);
            match failure {
                None => assert_eq!(report.to_string(), "1 passed, 0 failed, 0 not yet"),
                Some(text) => {
                    assert_eq!(report.to_string(), "0 passed, 1 failed, 0 not yet");
                    assert!(report.failures[0].contains(text), "{}", report.failures[0]);
                }
            }
        }
    }

    #[test]
    fn only_listed_names_are_not_yet() {
        let not_yet = ["Future"];
        let outer = json!({"schedule": {"name": "Future"}, "anything": 1});
        let inner = json!({"schedule": {"name": "StepLR", "schedulers": [{"name": "Future"}]}});
        let unlisted = json!({"schedule": {"name": "Other"}, "base_lr": 1, "lr": [1]});
        assert_eq!(report_of(outer, &not_yet).to_string(), "0 passed, 0 failed, 1 not yet");
        assert_eq!(report_of(inner, &not_yet).to_string(), "0 passed, 0 failed, 1 not yet");
        assert_eq!(report_of(unlisted, &not_yet).to_string(), "0 passed, 1 failed, 0 not yet");
    }

    #[test]
    fn a_supported_name_may_not_wait() {
        let case = json!({"schedule": {"name": "StepLR", "step_size": 1}, "base_lr": 1, "lr": [1]});
        let report = report_of(case, &["StepLR"]);
        assert_eq!(report.failures, ["schedule StepLR is supported: remove it from NOT_YET"]);
    }

    #[test]
    fn a_missing_file_fails() {
        let report = run(&Folder::at("nowhere"), &NOT_YET);
        assert_eq!(report.failures.len(), 1);
        assert!(report.failures[0].contains("schedules.json"), "{}", report.failures[0]);
    }
}
