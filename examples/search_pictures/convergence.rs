//! The best loss so far by evaluations, of several methods.

use anyhow::{Result, ensure};
use gradus::Gpu;
use gradus::search::{CMA, DE, GA, Method, OpenAIES, PSO, RandomSearch, SNES, TestFunction};

use crate::Args;
use crate::curves::{self, Curve};
use crate::runs::{LEAST, Runs, Setting, moved};
use crate::sheet::{COLORS, Scale, cells, panel, save, sheet};

const DIMENSIONS: usize = 10;
const BUDGET: u64 = 10_000;

/// Names, and members where the method's own number is not one for curves.
fn methods() -> Vec<(&'static str, Method, Option<usize>)> {
    vec![
        ("CMA", CMA::default().into(), None),
        ("DE", DE::default().into(), None),
        ("PSO", PSO::default().into(), None),
        ("GA", GA::default().into(), None),
        ("OpenAIES", OpenAIES { final_scale: 0.01, ..Default::default() }.into(), None),
        ("SNES", SNES::default().into(), None),
        ("random", RandomSearch::default().into(), Some(50)),
    ]
}

pub(crate) fn draw(gpu: &Gpu, args: &Args) -> Result<()> {
    let (seeds, budget) = if args.quick { (3, BUDGET / 5) } else { (15, BUDGET) };
    let problems = [
        ("Rosenbrock: one bent valley", TestFunction::Rosenbrock, LEAST..1e5),
        ("Rastrigin: a minimum near each whole number", TestFunction::Rastrigin, 1.0..300.0),
    ];
    let mut all = Vec::new();
    for (_, function, _) in &problems {
        let problem = moved(*function, DIMENSIONS)?;
        let mut of_problem = Vec::new();
        for ((name, method, members), color) in methods().into_iter().zip(COLORS) {
            let runs = Runs::of(gpu, &problem, &Setting { method, members, budget }, seeds)?;
            of_problem.push(Curve::median(name, color, &runs.evaluations(), &runs.gaps));
        }
        let ends: Vec<String> = of_problem.iter().map(|c| format!("{} {:.3e}", c.name, c.end())).collect();
        println!("{}, medians: {}", function.name(), ends.join(", "));
        check(*function, &of_problem)?;
        all.push(of_problem);
    }
    let reading = format!(
        "{DIMENSIONS} dimensions. Line: median of {seeds} seeds; band: the middle half of them. Cut at {LEAST:e}."
    );
    let starts = "CMA, SNES and OpenAIES begin in the middle of the box, the others anywhere in it.";
    let svg = sheet((880, 460), "The best so far by evaluations", &[&reading, starts], |body| {
        for ((area, (heading, _, ends)), curves) in cells(body, 1, 2, 10)?.iter().zip(&problems).zip(&all) {
            let x = Scale::log(10.0..budget as f64, "evaluations");
            let y = Scale::log(ends.clone(), "best f − minimum");
            let mut plot = panel(area, heading, (&x, &y), 84)?;
            curves::draw(area, &mut plot, curves)?;
        }
        Ok(())
    })?;
    save(&args.out, "convergence.svg", &svg)
}

/// What the picture shows: each method finds what random points do not, and covariances find along a valley.
fn check(function: TestFunction, curves: &[Curve]) -> Result<()> {
    let end = |name: &str| curves.iter().find(|curve| curve.name == name).map_or(f64::NAN, Curve::end);
    let random = end("random");
    for Curve { name, y, .. } in curves {
        let (own, function) = (end(name), function.name());
        ensure!(y.is_sorted_by(|a, b| a >= b), "{function}: a best so far of {name} rose");
        ensure!(
            own < random || name == "random",
            "{function}: {name} ends at {own}, random points at {random}"
        );
    }
    let far = function != TestFunction::Rosenbrock || end("CMA") < 0.01 * random;
    ensure!(far, "CMA ends at {}, random points at {random}", end("CMA"));
    Ok(())
}
