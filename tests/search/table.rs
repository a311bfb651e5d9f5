//! The reference file, and the table of ours beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context, Result};
use gradus::search::{TestFunction, TestProblem};
use serde::Deserialize;

/// `blackbox.json`.
#[derive(Deserialize)]
pub(crate) struct Reference {
    pub(crate) problems: BTreeMap<String, Case>,
}

/// A shifted function in a box, and what other libraries reached.
#[derive(Deserialize)]
pub(crate) struct Case {
    pub(crate) function: String,
    pub(crate) dim: usize,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    pub(crate) shift: Vec<f64>,
    pub(crate) known_min: f64,
    /// Where scipy started.
    pub(crate) x0: Vec<Vec<f64>>,
    pub(crate) scipy: BTreeMap<String, Reached>,
}

/// What a method reached.
#[derive(Deserialize)]
pub(crate) struct Reached {
    pub(crate) f: Summary,
    /// Whether the method was told the box.
    #[serde(default)]
    pub(crate) bounded: bool,
}

/// Over the starts or seeds.
#[derive(Deserialize)]
pub(crate) struct Summary {
    pub(crate) median: f64,
    pub(crate) q75: f64,
}

/// Reads `blackbox.json`.
pub(crate) fn reference() -> Result<Reference> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden");
    let folder = std::env::var_os("GRADUS_GOLDEN_DIR").map_or(PathBuf::from(default), PathBuf::from);
    let path = folder.join("blackbox.json");
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

impl Case {
    /// Its function.
    pub(crate) fn problem(&self) -> Result<TestProblem> {
        Ok(TestFunction::from_name(&self.function)?.in_dimensions(self.dim)?.shifted(&self.shift)?)
    }

    /// Its box.
    pub(crate) fn bounds(&self) -> Vec<(f64, f64)> {
        vec![(self.lower, self.upper); self.dim]
    }

    /// Whether a point is in the box.
    pub(crate) fn holds(&self, x: &[f64]) -> bool {
        x.iter().all(|x| (self.lower..=self.upper).contains(x))
    }

    /// How far a value is above the minimum; what is as near as 1e-5 of it counts as there.
    pub(crate) fn regret(&self, fun: f64) -> f64 {
        (fun - self.known_min).max(1e-5 * self.known_min.abs().max(1.0))
    }
}

/// The median, as numpy has it; infinite of nothing.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::INFINITY,
        len if len % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

/// Ours beside theirs, printed row by row.
pub(crate) struct Table {
    failures: Vec<String>,
}

impl Table {
    /// Prints the head.
    pub(crate) fn new(theirs: &str) -> Self {
        println!();
        println!(
            "How far above the minimum. Allowed: median of ours at most the 75th percentile of {theirs}."
        );
        println!(
            "{:<16} {:<14} {:>11} {:>11} {:>11} {:>11} {:>9}",
            "problem", "method", "our median", "their med.", "their 75 %", "our best", "our nfev"
        );
        Self { failures: Vec::new() }
    }

    /// Prints a row; ours are values of points within the box.
    pub(crate) fn row(
        &mut self,
        (problem, method): (&str, &str),
        case: &Case,
        ours: &[f64],
        nfev: f64,
        theirs: &Summary,
    ) {
        let regrets: Vec<f64> = ours.iter().map(|fun| case.regret(*fun)).collect();
        let best = regrets.iter().copied().fold(f64::INFINITY, f64::min);
        let (median, allowed) = (median(regrets), case.regret(theirs.q75));
        println!(
            "{problem:<16} {method:<14} {median:>11.3e} {:>11.3e} {allowed:>11.3e} {best:>11.3e} {nfev:>9.1}",
            case.regret(theirs.median)
        );
        // Sums of the same numbers in another order.
        if median > allowed * (1.0 + 1e-9) {
            self.failures.push(format!("{problem}, {method}: {median:e}, allowed {allowed:e}"));
        }
    }

    /// Fails with the rows that are worse than allowed.
    pub(crate) fn finish(self) {
        assert!(self.failures.is_empty(), "\n{}", self.failures.join("\n"));
    }
}
