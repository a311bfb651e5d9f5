//! `early_stopping` in `schedules.json`: traces of a metric, and where two rules stop.

use anyhow::{Context, Result, ensure};
use gradus::train::{EarlyStopping, StopRule};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::harness::{Envelope, Folder, Report};
use crate::not_yet::NotYet;

pub(crate) fn run(folder: &Folder, _: &NotYet) -> Report {
    Report::of(|report| check_all(report, &folder.json("schedules.json")?))
}

fn check_all(report: &mut Report, file: &Value) -> Result<()> {
    let cases = file.get("early_stopping").context("schedules.json: no `early_stopping`")?;
    report.check(cases, |_| false, check)
}

/// Where a rule never stops, the field is null or left out.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    config: Value,
    values: Vec<f64>,
    keras_stop_epoch: Option<u64>,
    keras_best_epoch: Option<u64>,
    notebook_stop_iteration: Option<u64>,
}

fn check(_: &Envelope, body: Map<String, Value>) -> Result<()> {
    let case: Case = serde_json::from_value(Value::Object(body))?;
    let config = EarlyStopping::from_json(&case.config)?;
    let stopped = |variant| -> Result<EarlyStopping> {
        let mut stopping = EarlyStopping { variant, ..config.clone() };
        for value in &case.values {
            if stopping.observe(*value)? {
                break;
            }
        }
        Ok(stopping)
    };
    let expect = |what: &str, got: Option<u64>, want: Option<u64>| {
        ensure!(got == want, "{what}: got {got:?}, expected {want:?}");
        Ok(())
    };
    let keras = stopped(StopRule::Keras)?.state;
    expect("keras_stop_epoch", keras.stopped_epoch, case.keras_stop_epoch)?;
    expect("keras_best_epoch", keras.best_epoch, case.keras_best_epoch)?;
    let eager = stopped(StopRule::Eager)?.state;
    expect("notebook_stop_iteration", eager.stopped_epoch, case.notebook_stop_iteration)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_epoch_fails() {
        let case = |stop: u64, best: u64, eager: u64| {
            json!({"config": {"patience": 0}, "values": [3, 2, 2], "keras_stop_epoch": stop,
                   "keras_best_epoch": best, "notebook_stop_iteration": eager})
        };
        let rows = [
            (case(2, 1, 0), None),
            (case(1, 1, 0), Some("keras_stop_epoch: got Some(2), expected Some(1)")),
            (case(2, 2, 0), Some("keras_best_epoch: got Some(1), expected Some(2)")),
            (case(2, 1, 1), Some("notebook_stop_iteration: got Some(0), expected Some(1)")),
            (json!({"config": {"patiense": 0}, "values": []}), Some("did you mean \"patience\"?")),
        ];
        for (case, failure) in rows {
            let report = Report::of(|report| check_all(report, &json!({"early_stopping": [case]})));
            assert_eq!(report.failures.len(), usize::from(failure.is_some()), "{:?}", report.failures);
            assert!(failure.is_none_or(|text| report.failures[0].contains(text)), "{:?}", report.failures);
        }
    }
}
