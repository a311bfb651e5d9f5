//! The advisor's table.

use super::Approach;
use super::Property::{
    self, Constraints, Discrete, FewEvaluations, Gradients, LocalMinima, Memory, Noise, OnlineLearning,
    Parallel,
};

/// Name, where it is found, what it has, the most variables, strengths.
type Row = (&'static str, &'static str, &'static [Property], Option<usize>, &'static [&'static str]);

const ROWS: &[Row] = &[
    (
        "Adam",
        "optim::Adam",
        &[Gradients, OnlineLearning, Noise],
        None,
        &["learning rates that adapt to each parameter", "objectives that change", "deep learning"],
    ),
    (
        "SGD",
        "optim::SGD",
        &[Gradients, Memory, OnlineLearning, Noise],
        None,
        &["simple", "convex problems", "generalizes well with momentum and a schedule"],
    ),
    (
        "L-BFGS-B",
        "search::Minimizer::LbfgsB, and optim::LBFGS on the device",
        &[Gradients, FewEvaluations],
        None,
        &["smooth objectives without noise", "bounds"],
    ),
    (
        "L-BFGS-B from many starts",
        "search::MinimizeOptions::multi_start",
        &[Gradients, LocalMinima],
        Some(100),
        &["smooth objectives with several minima", "bounds"],
    ),
    (
        "SLSQP",
        "search::Minimizer::Slsqp",
        &[Gradients, Constraints, FewEvaluations],
        Some(200),
        &["smooth constraints, equalities as well"],
    ),
    (
        "COBYLA",
        "search::Minimizer::Cobyla",
        &[Constraints, Memory, FewEvaluations],
        Some(50),
        &["constraints without gradients"],
    ),
    (
        "Nelder-Mead",
        "search::Minimizer::NelderMead",
        &[Memory],
        Some(10),
        &["rough objectives of few variables"],
    ),
    (
        "Powell",
        "search::Minimizer::Powell",
        &[Memory],
        Some(50),
        &["variables that hardly depend on each other"],
    ),
    (
        "CMA-ES",
        "search::CMA",
        &[Parallel, LocalMinima, Noise],
        Some(300),
        &["variables that depend on each other", "badly scaled objectives"],
    ),
    (
        "differential evolution",
        "search::DE",
        &[Parallel, LocalMinima],
        Some(200),
        &["few settings", "bounds"],
    ),
    (
        "evolution strategy",
        "search::OpenAIES and search::SNES",
        &[Parallel, LocalMinima, Noise],
        None,
        &["networks without gradients", "highly parallel"],
    ),
    (
        "genetic algorithm",
        "search::GA",
        &[Parallel, LocalMinima, Discrete, Noise],
        None,
        &["several minima", "mixed variables"],
    ),
    (
        "particle swarm",
        "search::PSO",
        &[Parallel, LocalMinima],
        Some(200),
        &["smooth objectives with several minima", "bounds"],
    ),
    (
        "simulated annealing",
        "search::SimulatedAnnealing",
        &[LocalMinima, Discrete, Memory],
        None,
        &["discrete problems"],
    ),
    (
        "Bayesian optimization",
        "a library beside this one",
        &[Constraints, Memory, LocalMinima, FewEvaluations, Noise],
        Some(20),
        &["a model of the objective", "hyperparameters"],
    ),
];

pub(super) fn approaches() -> Vec<Approach> {
    let owned = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
    ROWS.iter()
        .map(|&(name, found_in, has, max_dimensions, strengths)| Approach {
            name: name.into(),
            found_in: found_in.into(),
            has: has.to_vec(),
            max_dimensions,
            strengths: owned(strengths),
        })
        .collect()
}
