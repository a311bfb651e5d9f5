//! Searches of one problem with many seeds.

use anyhow::Result;
use gradus::Gpu;
use gradus::search::{Method, Objective, Search, Space, TestFunction, TestProblem};

/// Differences to the minimum below this are drawn as this: f32 hardly has them.
pub(crate) const LEAST: f64 = 1e-6;

/// The function in so many dimensions, moved so that its minimum is nowhere a search begins.
pub(crate) fn moved(function: TestFunction, dimensions: usize) -> Result<TestProblem> {
    let shift: Vec<f64> = (0..dimensions).map(|at| 1.3 * (1.0 + 1.7 * at as f64).sin()).collect();
    Ok(function.in_dimensions(dimensions)?.shifted(&shift)?)
}

/// The box of a problem.
pub(crate) fn space(problem: &TestProblem) -> Space {
    problem.bounds().into_iter().fold(Space::new(), |space, (low, high)| space.real(low, high))
}

/// A method, and how far it goes.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) method: Method,
    /// The method's own number where there is none.
    pub(crate) members: Option<usize>,
    pub(crate) budget: u64,
}

/// What the seeds of a setting came to.
pub(crate) struct Runs {
    pub(crate) members: usize,
    /// Of each seed: how far the best was from the minimum after each generation.
    pub(crate) gaps: Vec<Vec<f64>>,
}

impl Runs {
    pub(crate) fn of(gpu: &Gpu, problem: &TestProblem, setting: &Setting, seeds: u64) -> Result<Self> {
        let mut runs = Self { members: 0, gaps: Vec::new() };
        for seed in 1..=seeds {
            let mut builder =
                Search::builder(space(problem), setting.method.clone()).seed(seed).budget(setting.budget);
            if let Some(members) = setting.members {
                builder = builder.members(members);
            }
            let mut search = builder.build(gpu)?;
            runs.members = search.members();
            let found = search.minimize(&mut Objective::wgsl(problem.wgsl()))?;
            let gap = |best: &f32| (f64::from(*best) - problem.minimum()).max(LEAST);
            runs.gaps.push(found.history.iter().map(gap).collect());
        }
        Ok(runs)
    }

    /// Generations from 1.
    pub(crate) fn generations(&self) -> Vec<f64> {
        (1..=self.gaps[0].len()).map(|generation| generation as f64).collect()
    }

    /// Evaluations after each generation.
    pub(crate) fn evaluations(&self) -> Vec<f64> {
        self.generations().into_iter().map(|generation| generation * self.members as f64).collect()
    }
}
