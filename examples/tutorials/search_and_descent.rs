//! Gradient descent from random points beside searches of the whole box: evolution, annealing, a genetic algorithm.

use anyhow::{Result, ensure};
use gradus::Gpu;
use gradus::grad::Transforms;
use gradus::search::{
    CMA, GA, Method, Objective, Search, SimulatedAnnealing, Space, TestFunction, TestProblem,
};
use rand::RngExt;
use rand_pcg::Pcg32;
use serde_json::json;

use crate::curves::{self, Curve};
use crate::descent::descend_all;
use crate::sheet::{COLORS, Scale, cells, panel, sheet};
use crate::{Picture, Stage};

const BUDGET: usize = 1000;
/// Differences to the minimum below this are drawn as this.
const LEAST: f64 = 1e-4;

/// A function, its heading, the rate of gradient descent, and the ends of the picture.
const SCENES: [(TestFunction, &str, f64, (f64, f64)); 3] = [
    (TestFunction::Rastrigin, "Rastrigin", 2e-3, (LEAST, 100.0)),
    (TestFunction::Ackley, "Ackley", 0.02, (LEAST, 100.0)),
    (TestFunction::Eggholder, "Eggholder", 0.5, (1.0, 3000.0)),
];

fn gap(problem: &TestProblem, value: f64) -> f64 {
    (value - problem.minimum()).max(LEAST)
}

/// Of each start, the best so far after each evaluation.
fn descents(gpu: &Gpu, problem: &TestProblem, rate: f64, seeds: u64) -> Result<Vec<Vec<f64>>> {
    let bounds = problem.bounds();
    let mut random = Pcg32::new(1, 0);
    let mut start = || [0, 1].map(|at: usize| random.random_range(bounds[at].0..bounds[at].1));
    let starts: Vec<[f64; 2]> = (0..seeds).map(|_| start()).collect();
    let slope =
        |x: [f64; 2]| {
            let gradient = problem.gradient(&x);
            // Beyond the box it goes back.
            [0, 1].map(|at: usize| {
                if (bounds[at].0..=bounds[at].1).contains(&x[at]) { gradient[at] } else { x[at].signum() }
            })
        };
    let steps = BUDGET / 2;
    let sgd = json!({"name": "SGD", "lr": rate});
    let ways = descend_all(gpu, &sgd, Transforms::default(), &starts, steps, &slope)?;
    let inside = |x: f64, at: usize| x.clamp(bounds[at].0, bounds[at].1);
    let best = |way: Vec<(f64, f64)>| {
        way.into_iter()
            .map(|(x, y)| gap(problem, problem.value(&[inside(x, 0), inside(y, 1)])))
            .scan(f64::INFINITY, |best, value| {
                *best = best.min(value);
                Some(*best)
            })
            .collect()
    };
    Ok(ways.into_iter().map(best).collect())
}

/// Evaluations after each generation, and of each seed the best so far.
fn searches(
    gpu: &Gpu,
    problem: &TestProblem,
    method: &Method,
    seeds: u64,
) -> Result<(Vec<f64>, Vec<Vec<f64>>)> {
    let (mut evaluations, mut runs) = (Vec::new(), Vec::new());
    for seed in 1..=seeds {
        let space =
            problem.bounds().into_iter().fold(Space::new(), |space, (low, high)| space.real(low, high));
        let builder = Search::builder(space, method.clone()).members(20).seed(seed).budget(BUDGET as u64);
        let found = builder.build(gpu)?.minimize(&mut Objective::wgsl(problem.wgsl()))?;
        evaluations = (1..=found.history.len()).map(|generation| (20 * generation) as f64).collect();
        runs.push(found.history.iter().map(|best| gap(problem, f64::from(*best))).collect());
    }
    Ok((evaluations, runs))
}

pub(crate) fn draw(stage: &Stage) -> Result<Picture> {
    let seeds = if stage.quick { 3 } else { 9 };
    let methods: [(&str, Method); 3] = [
        ("CMA", CMA::default().into()),
        ("annealing", SimulatedAnnealing::default().into()),
        ("GA", GA::default().into()),
    ];
    let mut all = Vec::new();
    let mut said = Vec::new();
    for (function, name, rate, _) in SCENES {
        let problem = function.in_dimensions(2)?;
        let descents = descents(&stage.gpu, &problem, rate, seeds)?;
        let steps: Vec<f64> = (1..=descents[0].len()).map(|step| step as f64).collect();
        let mut of_function = vec![Curve::median("descent", COLORS[0], &steps, &descents)];
        for ((method, options), color) in methods.iter().zip(&COLORS[1..]) {
            let (evaluations, runs) = searches(&stage.gpu, &problem, options, seeds)?;
            of_function.push(Curve::median(*method, *color, &evaluations, &runs));
        }
        let ends: Vec<String> =
            of_function.iter().map(|curve| format!("{} {:.3}", curve.name, curve.end())).collect();
        said.push(format!("{name}: {}", ends.join(", ")));
        let best = of_function[1..].iter().map(Curve::end).fold(f64::INFINITY, f64::min);
        ensure!(best < 0.4 * of_function[0].end(), "{}", said[said.len() - 1]);
        all.push(of_function);
    }
    let line = format!(
        "Two dimensions. Line: median of {seeds} seeds or random starts; band: the middle half of them. A gradient counts as one \
         evaluation."
    );
    let title = "Searches of the whole box find what descent from one point does not";
    let svg = sheet((1000, 420), title, &[&line], |body| {
        for ((area, (_, name, _, ends)), curves) in cells(body, 1, 3, 10)?.iter().zip(SCENES).zip(&all) {
            let x = Scale::log(1.0..BUDGET as f64, "evaluations");
            let y = Scale::log(ends.0..ends.1, "best f − minimum");
            let mut plot = panel(area, name, (&x, &y), 78)?;
            curves::draw(area, &mut plot, curves)?;
        }
        Ok(())
    })?;
    let shows = format!("Above the minimum at the end, medians. {}.", said.join("; "));
    Ok(Picture { svg, shows })
}
