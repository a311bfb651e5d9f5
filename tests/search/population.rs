//! The quality of methods over populations, beside nevergrad's: `GRADUS_GOLDEN_DIR` names the folder of `blackbox.json`, and
//! `nevergrad.json` has other dimensions, shifts and budgets, made in the same way.

use std::collections::BTreeMap;
use std::path::PathBuf;

use gradus::Gpu;
use gradus::search::{Method, Objective, Search, Space};
use serde_json::Value;

/// A test function in f64, on the host.
fn function(name: &str, x: &[f64]) -> f64 {
    use std::f64::consts::{E, PI};
    let d = x.len() as f64;
    match name {
        "rosenbrock" => {
            x.windows(2).map(|p| 100.0 * (p[1] - p[0] * p[0]).powi(2) + (1.0 - p[0]).powi(2)).sum()
        }
        "rastrigin" => 10.0 * d + x.iter().map(|x| x * x - 10.0 * (2.0 * PI * x).cos()).sum::<f64>(),
        "ackley" => {
            let squares = x.iter().map(|x| x * x).sum::<f64>() / d;
            let cosines = x.iter().map(|x| (2.0 * PI * x).cos()).sum::<f64>() / d;
            20.0 - 20.0 * (-0.2 * squares.sqrt()).exp() + E - cosines.exp()
        }
        "eggholder" => {
            let (x, y) = (x[0], x[1] + 47.0);
            -y * (0.5 * x + y).abs().sqrt().sin() - x * (x - y).abs().sqrt().sin()
        }
        _ => panic!("{name} is not known here"),
    }
}

/// The same in WGSL, of `at(i)`.
fn text(name: &str, shift: &[f64]) -> String {
    let body = match name {
        "rosenbrock" => {
            "for (var i = 0u; i < DIMENSIONS - 1u; i++) {
        let a = at(i + 1u) - at(i) * at(i);
        sum += 100.0 * a * a + (1.0 - at(i)) * (1.0 - at(i));
    }"
        }
        "rastrigin" => {
            "for (var i = 0u; i < DIMENSIONS; i++) {
        sum += 10.0 + at(i) * at(i) - 10.0 * cos(6.283185307179586 * at(i));
    }"
        }
        "ackley" => {
            "var cosines = 0.0;
    for (var i = 0u; i < DIMENSIONS; i++) {
        sum += at(i) * at(i);
        cosines += cos(6.283185307179586 * at(i));
    }
    let d = f32(DIMENSIONS);
    sum = 20.0 - 20.0 * exp(-0.2 * sqrt(sum / d)) + (2.718281828459045 - exp(cosines / d));"
        }
        "eggholder" => {
            "let y = at(1u) + 47.0;
    sum = -y * sin(sqrt(abs(0.5 * at(0u) + y))) - at(0u) * sin(sqrt(abs(at(0u) - y)));"
        }
        _ => panic!("{name} is not known here"),
    };
    let shifts: Vec<String> = shift.iter().map(|shift| format!("{shift:?}")).collect();
    format!(
        "fn at(i: u32) -> f32 {{
    var shift = array<f32, {}>({});
    return x(i) - shift[i];
}}
fn objective() -> f32 {{
    var sum = 0.0;
    {body}
    return sum;
}}",
        shift.len(),
        shifts.join(", ")
    )
}

struct Problem {
    name: String,
    function: String,
    lower: f64,
    upper: f64,
    shift: Vec<f64>,
    minimum: f64,
    budget: u64,
    /// Losses of each of nevergrad's methods.
    theirs: BTreeMap<String, Vec<f64>>,
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
}

/// Those of nevergrad's methods over 2,000 evaluations.
fn golden() -> Vec<Problem> {
    let own = || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let folder = std::env::var_os("GRADUS_GOLDEN_DIR").map_or_else(own, PathBuf::from);
    problems(&std::fs::read_to_string(folder.join("blackbox.json")).unwrap())
}

fn problems(text: &str) -> Vec<Problem> {
    let all: Value = serde_json::from_str(text).unwrap();
    let problem = |(name, value): (&String, &Value)| Problem {
        name: name.clone(),
        function: value["function"].as_str().unwrap().into(),
        lower: value["lower"].as_f64().unwrap(),
        upper: value["upper"].as_f64().unwrap(),
        shift: numbers(&value["shift"]),
        minimum: value["known_min"].as_f64().unwrap(),
        budget: value.get("budget").map_or(2000, |budget| budget.as_u64().unwrap()),
        theirs: value["nevergrad"]
            .as_object()
            .unwrap()
            .iter()
            .map(|(name, run)| (name.clone(), numbers(&run["all_f"])))
            .collect(),
    };
    all["problems"].as_object().unwrap().iter().map(problem).collect()
}

impl Problem {
    /// How far a loss is from the minimum, with what is as good as nothing in its place.
    fn gap(&self, loss: f64) -> f64 {
        (loss - self.minimum).max(1e-5 * self.minimum.abs().max(1.0))
    }

    fn gaps(&self, losses: &[f64]) -> Vec<f64> {
        let mut gaps: Vec<f64> = losses.iter().map(|loss| self.gap(*loss)).collect();
        gaps.sort_by(f64::total_cmp);
        gaps
    }

    fn value(&self, x: &[f32]) -> f64 {
        let moved: Vec<f64> = x.iter().zip(&self.shift).map(|(x, shift)| f64::from(*x) - shift).collect();
        function(&self.function, &moved)
    }

    /// The losses that a method finds from 20 seeds in its evaluations, in f64.
    fn run(&self, gpu: &Gpu, method: &Method) -> Vec<f64> {
        let text = text(&self.function, &self.shift);
        let run = |seed| {
            let space = Space::cube(self.shift.len(), self.lower, self.upper);
            let builder = Search::builder(space, method.clone()).budget(self.budget).seed(seed);
            let mut search = builder.build(gpu).unwrap();
            let found = search.minimize(&mut Objective::wgsl(text.as_str())).unwrap();
            assert!(found.nfev <= self.budget && found.x.len() == self.shift.len());
            assert!(found.x.iter().all(|x| (self.lower..=self.upper).contains(&f64::from(*x))));
            self.value(&found.x)
        };
        (0..20).map(run).collect()
    }
}

/// A quantile as numpy has it, of what is in order.
#[expect(clippy::cast_possible_truncation, reason = "a place in a list")]
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let at = share * (sorted.len() - 1) as f64;
    let (low, high) = (sorted[at.floor() as usize], sorted[at.ceil() as usize]);
    low + (high - low) * at.fract()
}

fn gpu() -> Option<Gpu> {
    match Gpu::new(Default::default()) {
        Ok(gpu) => Some(gpu),
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips these tests"),
    }
}

#[test]
fn methods_are_as_good_as_those_of_the_same_name() {
    let Some(gpu) = gpu() else { return };
    let mut bad = Vec::new();
    for problem in golden() {
        let names = Method::all().into_iter().map(|method| method.name());
        let mut best = (f64::INFINITY, f64::INFINITY);
        println!(
            "{:<16}{:>20}{:>11}{:>11}{:>11}{:>11}",
            problem.name, "least", "25%", "median", "75%", "theirs 75%"
        );
        for name in names.chain(["TwoPointsDE"]) {
            let ours = problem.gaps(&problem.run(&gpu, &Method::named(name).unwrap()));
            let [least, q25, median, q75] = [0.0, 0.25, 0.5, 0.75].map(|share| quantile(&ours, share));
            best = (best.0.min(least), best.1.min(median));
            let bar = problem.theirs.get(name).map(|theirs| quantile(&problem.gaps(theirs), 0.75));
            let shown = bar.map_or(String::new(), |bar| format!("{bar:.3e}"));
            let mark = if bar.is_some_and(|bar| median > bar) { " !" } else { "" };
            println!("  {name:<22}{least:>12.3e}{q25:>11.3e}{median:>11.3e}{q75:>11.3e}{shown:>11}{mark}");
            if !mark.is_empty() {
                bad.push(format!("{} {name}: median {median:.3e}, theirs 75% {shown}", problem.name));
            }
        }
        let all = problem.theirs.values().map(|theirs| problem.gaps(theirs));
        let theirs = all.fold((f64::INFINITY, f64::INFINITY), |(least, median), gaps| {
            (gaps[0].min(least), quantile(&gaps, 0.5).min(median))
        });
        println!(
            "  best of ours: least {:.3e}, median {:.3e}; theirs {:.3e}, {:.3e}",
            best.0, best.1, theirs.0, theirs.1
        );
        if best.0 > theirs.0 || best.1 > theirs.1 {
            bad.push(format!("{}: the best of ours is behind the best of theirs", problem.name));
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}

#[test]
fn methods_hold_in_other_dimensions_and_budgets() {
    let Some(gpu) = gpu() else { return };
    let mut bad = Vec::new();
    for problem in problems(include_str!("nevergrad.json")) {
        println!("{:<24}{:>11}{:>11}", problem.name, "median", "theirs 75%");
        for (name, theirs) in &problem.theirs {
            let ours = problem.gaps(&problem.run(&gpu, &Method::named(name).unwrap()));
            let (median, bar) = (quantile(&ours, 0.5), quantile(&problem.gaps(theirs), 0.75));
            let mark = if median > bar { " !" } else { "" };
            println!("  {name:<22}{median:>11.3e}{bar:>11.3e}{mark}");
            if median > bar {
                bad.push(format!("{} {name}: median {median:.3e}, theirs 75% {bar:.3e}", problem.name));
            }
        }
    }
    assert!(bad.is_empty(), "{}", bad.join("\n"));
}
