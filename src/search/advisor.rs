//! Recommends methods for a described problem, with reasons.

mod table;

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a problem may need and a method may have.
///
/// ```
/// use gradus::search::{ProblemDescription, Property};
///
/// let problem = ProblemDescription { noisy: true, ..Default::default() };
/// assert!(problem.needs(Property::Noise));
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Property {
    /// Gradients: a problem has them, a method uses them, and works without them only if it does not.
    Gradients,
    /// Constraints beyond bounds.
    Constraints,
    /// Many evaluations at once.
    Parallel,
    /// Little memory besides the parameters.
    Memory,
    /// Many local minima.
    LocalMinima,
    /// New data while it runs.
    OnlineLearning,
    /// Evaluations so expensive that there are few.
    FewEvaluations,
    /// Variables that are whole numbers or categories.
    Discrete,
    /// An objective that is noisy.
    Noise,
}

impl Property {
    /// All of them, in the order of reasons.
    pub const ALL: &[Property] = &[
        Self::Gradients,
        Self::Constraints,
        Self::Parallel,
        Self::Memory,
        Self::LocalMinima,
        Self::OnlineLearning,
        Self::FewEvaluations,
        Self::Discrete,
        Self::Noise,
    ];

    /// What it counts in a score.
    fn weight(self) -> i32 {
        if self == Self::Gradients { 2 } else { 1 }
    }

    /// What is said of a method that has it, and of one that has not.
    fn in_words(self) -> (&'static str, &'static str) {
        match self {
            Self::Gradients => ("uses the gradients", "leaves the gradients unused"),
            Self::Constraints => ("keeps to constraints", "takes no constraints"),
            Self::Parallel => ("evaluates many points at once", "evaluates one point after the other"),
            Self::Memory => ("needs little memory", "needs memory besides the parameters"),
            Self::LocalMinima => ("gets out of local minima", "ends in the local minimum nearby"),
            Self::OnlineLearning => ("goes on as data comes", "expects the same objective throughout"),
            Self::FewEvaluations => ("needs few evaluations", "needs many evaluations"),
            Self::Discrete => ("takes whole numbers and categories", "takes real variables only"),
            Self::Noise => ("stands noise", "is misled by noise"),
        }
    }
}

/// A problem as the advisor is told it. The default has gradients and no other need.
///
/// ```
/// use gradus::search::{OptimizationAdvisor, ProblemDescription};
///
/// let problem = ProblemDescription { has_gradients: true, dimensions: Some(10), ..Default::default() };
/// assert!(OptimizationAdvisor::new().suggest(&problem)[0].applicable);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ProblemDescription {
    /// Whether gradients are to be had. Default true.
    pub has_gradients: bool,
    /// Whether there are constraints beyond bounds. Default false.
    pub needs_constraints: bool,
    /// Whether many evaluations can run at once. Default false.
    pub parallel_compute: bool,
    /// Whether memory is short. Default false.
    pub memory_limited: bool,
    /// Whether there are many local minima. Default false.
    pub many_local_minima: bool,
    /// Whether new data comes while it runs. Default false.
    pub online_learning: bool,
    /// Whether an evaluation is so expensive that there can be only a few hundred. Default false.
    pub expensive: bool,
    /// Whether some variables are whole numbers or categories. Default false.
    pub discrete: bool,
    /// Whether the objective is noisy. Default false.
    pub noisy: bool,
    /// How many variables there are, if that is known. Default: not.
    pub dimensions: Option<usize>,
}

impl Default for ProblemDescription {
    fn default() -> Self {
        Self {
            has_gradients: true,
            needs_constraints: false,
            parallel_compute: false,
            memory_limited: false,
            many_local_minima: false,
            online_learning: false,
            expensive: false,
            discrete: false,
            noisy: false,
            dimensions: None,
        }
    }
}

impl ProblemDescription {
    /// Whether the problem has or needs `property`.
    pub fn needs(&self, property: Property) -> bool {
        match property {
            Property::Gradients => self.has_gradients,
            Property::Constraints => self.needs_constraints,
            Property::Parallel => self.parallel_compute,
            Property::Memory => self.memory_limited,
            Property::LocalMinima => self.many_local_minima,
            Property::OnlineLearning => self.online_learning,
            Property::FewEvaluations => self.expensive,
            Property::Discrete => self.discrete,
            Property::Noise => self.noisy,
        }
    }
}

/// A method as the advisor knows it: a row of its table.
///
/// ```
/// use gradus::search::{Approach, OptimizationAdvisor, Property};
///
/// let ours = Approach {
///     name: "ours".into(),
///     found_in: "this program".into(),
///     has: vec![Property::Noise],
///     max_dimensions: None,
///     strengths: vec!["known".into()],
/// };
/// assert_eq!(OptimizationAdvisor::with(vec![ours]).approaches().len(), 1);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approach {
    /// Its name.
    pub name: String,
    /// Where it is to be found, as in `search::Minimizer::Slsqp`.
    pub found_in: String,
    /// What it has.
    pub has: Vec<Property>,
    /// The most variables that it is good for, if there is a limit.
    #[serde(default)]
    pub max_dimensions: Option<usize>,
    /// What it is good at, in a few words each.
    #[serde(default)]
    pub strengths: Vec<String>,
}

/// Why a method is recommended or not.
///
/// ```
/// use gradus::search::{OptimizationAdvisor, ProblemDescription};
///
/// for reason in &OptimizationAdvisor::new().suggest(&ProblemDescription::default())[0].reasons {
///     println!("{}{}", if reason.speaks_for { "+ " } else { "- " }, reason.text);
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Reason {
    /// Whether it speaks for the method.
    pub speaks_for: bool,
    /// In words.
    pub text: String,
}

/// A method, how well it fits, and why.
///
/// ```
/// use gradus::search::{OptimizationAdvisor, ProblemDescription};
///
/// let advice = OptimizationAdvisor::new().suggest(&ProblemDescription::default());
/// assert!(advice[0].score >= advice[1].score);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Advice {
    /// The method's row.
    pub approach: Approach,
    /// Needs that are met less those that are not; gradients count twice.
    pub score: i32,
    /// Whether it can be used at all: false for one that needs gradients where there are none, or takes real variables only
    /// where some are not.
    pub applicable: bool,
    /// Why.
    pub reasons: Vec<Reason>,
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { approach, score, applicable, reasons } = self;
        write!(f, "{} (score {score}{})", approach.name, if *applicable { "" } else { ", not applicable" })?;
        write!(f, ": {}", approach.found_in)?;
        for Reason { speaks_for, text } in reasons {
            write!(f, "\n  {} {text}", if *speaks_for { '+' } else { '-' })?;
        }
        for strength in &approach.strengths {
            write!(f, "\n  * {strength}")?;
        }
        Ok(())
    }
}

/// Recommends methods for a described problem, with reasons.
///
/// It weighs what the problem needs against what each method of its table has. The table is data: another one can be
/// given.
///
/// ```
/// use gradus::search::{OptimizationAdvisor, ProblemDescription};
///
/// let advisor = OptimizationAdvisor::new();
/// let deep_learning =
///     ProblemDescription { parallel_compute: true, noisy: true, online_learning: true, ..Default::default() };
/// assert_eq!(advisor.suggest(&deep_learning)[0].approach.name, "Adam");
///
/// let hyperparameters = ProblemDescription {
///     has_gradients: false,
///     needs_constraints: true,
///     memory_limited: true,
///     expensive: true,
///     noisy: true,
///     ..Default::default()
/// };
/// let best = &advisor.suggest(&hyperparameters)[0];
/// assert_eq!(best.approach.name, "Bayesian optimization");
/// assert!(best.to_string().contains("+ needs few evaluations"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptimizationAdvisor {
    approaches: Vec<Approach>,
}

impl Default for OptimizationAdvisor {
    fn default() -> Self {
        Self::new()
    }
}

impl OptimizationAdvisor {
    /// With the methods of this crate, and those that it is often used beside.
    pub fn new() -> Self {
        Self { approaches: table::approaches() }
    }

    /// With a table of one's own.
    pub fn with(approaches: Vec<Approach>) -> Self {
        Self { approaches }
    }

    /// The table.
    pub fn approaches(&self) -> &[Approach] {
        &self.approaches
    }

    /// All methods, the best first; those that cannot be used last. Equals stay in the order of the table.
    pub fn suggest(&self, problem: &ProblemDescription) -> Vec<Advice> {
        let mut all: Vec<Advice> = self.approaches.iter().map(|approach| weigh(approach, problem)).collect();
        all.sort_by_key(|advice| (!advice.applicable, -advice.score));
        all
    }
}

fn weigh(approach: &Approach, problem: &ProblemDescription) -> Advice {
    let (mut score, mut applicable, mut reasons) = (0, true, Vec::new());
    for &property in Property::ALL {
        let has = approach.has.contains(&property);
        if problem.needs(property) {
            score += if has { property.weight() } else { -property.weight() };
            applicable &= has || property != Property::Discrete;
            let (with, without) = property.in_words();
            reasons.push(Reason { speaks_for: has, text: if has { with } else { without }.into() });
        } else if property == Property::Gradients && has {
            score -= property.weight();
            applicable = false;
            reasons.push(Reason { speaks_for: false, text: "needs gradients".into() });
        }
    }
    if let (Some(dimensions), Some(most)) = (problem.dimensions, approach.max_dimensions)
        && dimensions > most
    {
        score -= 2;
        reasons.push(Reason { speaks_for: false, text: format!("is good for up to {most} variables") });
    }
    Advice { approach: approach.clone(), score, applicable, reasons }
}

#[cfg(test)]
mod tests;
