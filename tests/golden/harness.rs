//! What every kind of golden data needs beside the reading of files: comparisons and a report.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use serde_json::{Map, Value};

pub(crate) use crate::files::{Envelope, Folder, Tensor, Tensors, Tolerance};
use crate::not_yet::NotYet;

/// Runs all cases of one kind.
pub(crate) type Runner = fn(&Folder, &NotYet) -> Report;

/// The folder of `GRADUS_GOLDEN_DIR`, or the one in which this file lies.
pub(crate) fn folder() -> Folder {
    Folder::at(
        std::env::var_os("GRADUS_GOLDEN_DIR").map_or_else(
            || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("golden"),
            PathBuf::from,
        ),
    )
}

impl std::ops::Index<&str> for Tensors {
    type Output = Tensor;

    fn index(&self, name: &str) -> &Tensor {
        self.get(name).unwrap_or_else(|| panic!("no tensor {name}"))
    }
}

impl Tolerance {
    /// Compares element by element; `place` names an element together with its index.
    pub(crate) fn compare(&self, place: &str, got: &[f64], want: &[f64]) -> Result<()> {
        ensure!(got.len() == want.len(), "{place}: got {} values, expected {}", got.len(), want.len());
        for (index, (&got, &want)) in got.iter().zip(want).enumerate() {
            // A NaN on either side makes the comparison false.
            let close = self.part(got, want) <= 1.0;
            ensure!(close, "{place} {index}: got {got:?}, expected {want:?}");
        }
        Ok(())
    }
}

/// What came of the cases of one kind.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) passed: usize,
    pub(crate) not_yet: usize,
    /// One text a failure, each beginning with the case.
    pub(crate) failures: Vec<String>,
}

impl Report {
    /// The report of `run`, or one failure if it could not begin.
    pub(crate) fn of(run: impl FnOnce(&mut Self) -> Result<()>) -> Self {
        let mut report = Self::default();
        if let Err(error) = run(&mut report) {
            report.failures.push(format!("{error:#}"));
        }
        report
    }

    /// Fails for each name that stands in `NOT_YET` although the library knows it.
    pub(crate) fn refuse_stale(&mut self, kind: &str, not_yet: &[&str], known: &[&str]) {
        let stale = not_yet.iter().filter(|name| known.contains(name));
        self.failures.extend(stale.map(|name| format!("{kind} {name} is supported: remove it from NOT_YET")));
    }

    /// Checks the cases in the list `cases`. A case for which `waits` holds is counted, not checked.
    pub(crate) fn check(
        &mut self,
        cases: &Value,
        waits: impl Fn(&Map<String, Value>) -> bool,
        check: impl Fn(&Envelope, Map<String, Value>) -> Result<()>,
    ) -> Result<()> {
        for (index, case) in cases.as_array().context("expected a list of cases")?.iter().enumerate() {
            let (envelope, body) = Envelope::open(case).with_context(|| format!("case {index}"))?;
            if waits(&body) {
                self.not_yet += 1;
                continue;
            }
            match check(&envelope, body) {
                Ok(()) => self.passed += 1,
                Err(error) => {
                    let id = envelope.id.unwrap_or_else(|| format!("case {index}"));
                    self.failures.push(format!("{id}: {error:#}"));
                }
            }
        }
        Ok(())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed, {} not yet", self.passed, self.failures.len(), self.not_yet)
    }
}

#[test]
fn tensors_are_widened_and_metadata_is_read_as_json() {
    let folder = Folder::at(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join("golden"));
    let problem = folder.tensors("optim/problem_A.safetensors").unwrap();
    let param = &problem["param.0"];
    assert_eq!(param.data.len(), param.shape.iter().product::<usize>());
    let shifted = problem.names().find_map(|name| name.strip_prefix("grad_base.")).unwrap();
    assert_eq!(problem.metadata::<Vec<usize>>(&format!("shift.{shifted}")).unwrap().len(), 25);
    assert!(problem.metadata::<Value>("nothing").is_err());
    assert!(problem.get("param.999").is_none());
}

#[test]
fn a_missing_file_is_named() {
    let error = Folder::at("nowhere").json("schedules.json").unwrap_err();
    assert!(format!("{error:#}").contains("schedules.json"), "{error:#}");
}

#[test]
fn the_tolerance_bites() {
    let tolerance = Tolerance { rtol: 1e-3, atol: 1e-6 };
    assert!(tolerance.compare("x", &[1.0, 0.0], &[1.0009, 1e-6]).is_ok());
    assert!(tolerance.compare("x", &[f64::INFINITY], &[f64::INFINITY]).is_ok());
    for (got, want) in [
        (1.0, 1.0011),
        (0.0, 2e-6),
        (f64::NAN, 0.0),
        (0.0, f64::NAN),
        (f64::INFINITY, 1.0),
        (1.0, f64::INFINITY),
    ] {
        assert!(tolerance.compare("x", &[got], &[want]).is_err(), "{got} {want}");
    }
    assert!(tolerance.compare("x", &[1.0], &[1.0, 1.0]).is_err());
}

#[test]
fn envelopes_are_lenient_and_bodies_are_kept() {
    let case = serde_json::json!({"id": "a", "note": 1, "tol": {"rtol": 1e-5, "atol": 0}, "x": 2});
    let (envelope, body) = Envelope::open(&case).unwrap();
    assert_eq!((envelope.id.as_deref(), envelope.tol.unwrap().rtol), (Some("a"), 1e-5));
    assert_eq!((envelope.file, envelope.problem), (None, None));
    assert_eq!(Value::Object(body), serde_json::json!({"x": 2}));
}
