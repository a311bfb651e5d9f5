//! `lbfgs.json`: L-BFGS on a quadratic and on Rosenbrock's function.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use gradus::optim::{LBFGS, Variant};
use gradus::{Error, Gpu, GpuOptions, ParamStore};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::harness::{Folder, Report, Tolerance};
use crate::not_yet::NotYet;

/// Steps after which parameters are compared; later, line searches have amplified rounding.
const EARLY: std::ops::RangeInclusive<usize> = 1..=3;
const PARAMS: Tolerance = Tolerance { rtol: 1e-3, atol: 1e-4 };
const LOSS: Tolerance = Tolerance { rtol: 1e-3, atol: 1e-6 };

pub(crate) fn run(folder: &Folder, not_yet: &NotYet) -> Report {
    Report::of(|report| {
        let gpu = match Gpu::new(crate::kernels::asked(GpuOptions::default())) {
            Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
                println!("golden lbfgs: SKIPPED, {error}");
                return Ok(());
            }
            gpu => gpu?,
        };
        report.refuse_stale("optimizer", not_yet.optimizers, &[LBFGS::NAME]);
        check_all(report, &gpu, folder.json("lbfgs.json")?)
    })
}

fn check_all(report: &mut Report, gpu: &Gpu, file: Value) -> Result<()> {
    let functions: Functions = serde_json::from_value(file.clone())?;
    let runs = file.get("runs").context("lbfgs.json: no `runs`")?;
    report.check(runs, |_| false, |_, body| check(gpu, &functions, body))
}

#[derive(Deserialize)]
struct Functions {
    quadratic: Option<Quadratic>,
    rosenbrock: Option<Rosenbrock>,
}

/// `x'Ax / 2 - b'x`.
#[derive(Deserialize)]
struct Quadratic {
    #[serde(rename = "A")]
    a: Vec<Vec<f64>>,
    b: Vec<f64>,
    x0: Vec<f64>,
}

/// The sum of `100 (x[i + 1] - x[i]^2)^2 + (1 - x[i])^2`.
#[derive(Deserialize)]
struct Rosenbrock {
    x0: Vec<f64>,
}

/// `function` is one of the above, or `minus_` one, which is it negated. `expr` says how the run was made.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    function: String,
    optimizer: Value,
    params: BTreeMap<usize, Vec<f64>>,
    losses: Vec<f64>,
    func_evals: Option<u64>,
    n_iter: Option<u64>,
    #[serde(rename = "expr")]
    _expr: Option<String>,
}

/// Value and gradient.
type Function<'f> = &'f dyn Fn(&[f64]) -> (f64, Vec<f64>);

impl Quadratic {
    fn at(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let ax: Vec<f64> = self.a.iter().map(|row| dot(row, x)).collect();
        let gradient = ax.iter().zip(&self.b).map(|(ax, b)| ax - b).collect();
        (0.5 * dot(x, &ax) - dot(&self.b, x), gradient)
    }
}

fn rosenbrock(x: &[f64]) -> (f64, Vec<f64>) {
    let (mut value, mut gradient) = (0.0, vec![0.0; x.len()]);
    for i in 0..x.len() - 1 {
        let (valley, slope) = (x[i + 1] - x[i] * x[i], 1.0 - x[i]);
        value += 100.0 * valley * valley + slope * slope;
        gradient[i] -= 400.0 * x[i] * valley + 2.0 * slope;
        gradient[i + 1] += 200.0 * valley;
    }
    (value, gradient)
}

#[expect(clippy::cast_possible_truncation, reason = "the library computes in f32")]
fn narrow(values: &[f64]) -> Vec<f32> {
    values.iter().map(|value| *value as f32).collect()
}

fn check(gpu: &Gpu, functions: &Functions, body: Map<String, Value>) -> Result<()> {
    let case: Case = serde_json::from_value(Value::Object(body))?;
    let missing = || format!("lbfgs.json: no `{}`", case.function);
    match case.function.as_str() {
        "quadratic" | "minus_quadratic" => {
            let quadratic = functions.quadratic.as_ref().with_context(missing)?;
            follow(gpu, &case, &quadratic.x0, &|x| quadratic.at(x))
        }
        "rosenbrock" | "minus_rosenbrock" => {
            let Rosenbrock { x0 } = functions.rosenbrock.as_ref().with_context(missing)?;
            follow(gpu, &case, x0, &rosenbrock)
        }
        other => bail!("unknown function {other:?}"),
    }
}

fn follow(gpu: &Gpu, case: &Case, x0: &[f64], function: Function<'_>) -> Result<()> {
    let options = LBFGS::from_json(&case.optimizer)?;
    let mut params = ParamStore::builder().tensor("x", [x0.len()], &narrow(x0)).build(gpu)?;
    let mut optimizer = options.clone().build(&params)?;
    let sign = if case.function.starts_with("minus_") { -1.0 } else { 1.0 };
    let function = |x: &[f64]| {
        let (value, gradient) = function(x);
        (sign * value, gradient.into_iter().map(|slope| sign * slope).collect::<Vec<_>>())
    };
    let point = |params: &ParamStore| -> Result<Vec<f64>, Error> {
        Ok(params.read("x")?.into_iter().map(f64::from).collect())
    };
    // Where a step is a whole search, only its loss counts.
    let whole = options.variant == Variant::Torch && options.max_iter == LBFGS::default().max_iter;
    for step in 1..=case.losses.len() {
        optimizer.step(&mut params, |params| -> Result<f64, Error> {
            let (value, gradient) = function(&point(params)?);
            params.write_grads(&narrow(&gradient))?;
            Ok(value)
        })?;
        if let Some(want) = case.params.get(&step).filter(|_| EARLY.contains(&step) && !whole) {
            PARAMS.compare(&format!("parameter after step {step}"), &point(&params)?, want)?;
        }
    }
    let (last, _) = function(&point(&params)?);
    let want = *case.losses.last().context("no losses")?;
    LOSS.compare(&format!("loss after step {}, of", case.losses.len()), &[last], &[want])?;
    let step_is_a_call = options.line_search_fn.is_none() && options.max_iter == 1;
    if step_is_a_call {
        for (what, got, want) in [
            ("func_evals", optimizer.func_evals(), case.func_evals),
            ("n_iter", optimizer.n_iter(), case.n_iter),
        ] {
            ensure!(want.is_none_or(|want| want == got), "{what}: got {got}, expected {want:?}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_wrong_number_fails() {
        let gpu = match Gpu::new(crate::kernels::asked(GpuOptions::default())) {
            Err(_) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => return,
            gpu => gpu.unwrap(),
        };
        // Half of x², from 2: the first step goes min(1, 1 / 2) down the gradient, the second to the minimum.
        let case = |first: f64, last: f64, calls: u64| {
            json!({"function": "quadratic", "params": {"1": [first]}, "losses": [0.5, last], "func_evals": calls,
                   "optimizer": {"name": "LBFGS", "max_iter": 1}})
        };
        let rows = [
            (case(1.0, 0.0, 2), None),
            (case(1.01, 0.0, 2), Some("parameter after step 1 0: got 1.0, expected 1.01")),
            (case(1.0, 0.1, 2), Some("loss after step 2, of 0: got")),
            (case(1.0, 0.0, 3), Some("func_evals: got 2, expected Some(3)")),
            (
                json!({"function": "cubic", "params": {}, "losses": [1], "optimizer": {"name": "LBFGS"}}),
                Some("cubic"),
            ),
        ];
        for (case, failure) in rows {
            let file = json!({"quadratic": {"A": [[1.0]], "b": [0.0], "x0": [2.0]}, "runs": [case]});
            let report = Report::of(|report| check_all(report, &gpu, file));
            assert_eq!(report.failures.len(), usize::from(failure.is_some()), "{:?}", report.failures);
            assert!(failure.is_none_or(|text| report.failures[0].contains(text)), "{:?}", report.failures);
        }
    }
}
