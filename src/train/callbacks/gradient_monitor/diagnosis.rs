//! Problems of training.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What is wrong with a run.
///
/// ```
/// use gradus::train::callbacks::Problem;
///
/// assert_eq!(Problem::VanishingGradients.to_string(), "vanishing gradients");
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Problem {
    /// Gradients of the first layers are a tiny fraction of those of the last ones, or all are zero.
    VanishingGradients,
    /// Loss or gradients are not finite, or have grown to many times what they were.
    ExplodingGradients,
    /// The loss has hardly fallen since the run began.
    Plateau,
    /// The loss swings up and down instead of falling, more than batches differ.
    Oscillation,
}

/// A problem, the figures that show it, and what helps.
///
/// | problem | when |
/// |---|---|
/// | exploding | a loss, parameter or gradient is not finite; the mean of 4 losses is 10 times the first loss; a gradient is 1,000 times as long as the first reported; in two reports in a row the median gradient an element of the first third of the weights is 10,000 times that of the last third |
/// | vanishing | in two reports in a row it is a 10,000th of that of the last third; all gradients are zero |
/// | oscillation | the last 48 to 128 losses pass from half a deviation above the line through them to half below, or back, 8 times or more; the line falls by less than 4 deviations; and the deviation is above a tenth of the first loss while losses follow each other in waves (their correlation at lag 1 is beyond 0.4; it is about 0 where batches only differ), or it is above the first loss |
/// | plateau | after 96 batches, no mean of 32 losses in a row was below 0.97 of the larger of the first loss and the mean of the first 16, and the last is at most 1.1 of it |
///
/// The first loss is that of the first batch, or of the first 8 samples. Weights are parameters with two dimensions or more
/// in the order in which layers were built. A run has one of the first three at a time, and a plateau only if it had none
/// of them yet and did not begin from earlier steps. Rules about losses need a positive first loss.
///
/// The bounds are the crate's; the advice is the textbooks'.
///
/// ```
/// use gradus::train::callbacks::{Diagnosis, Problem};
///
/// let (figures, advice) = ("the loss is 2.3".into(), "raise the rate".into());
/// let diagnosis = Diagnosis { problem: Problem::Plateau, step: 9, figures, advice };
/// assert_eq!(diagnosis.to_string(), "plateau: the loss is 2.3; raise the rate");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Diagnosis {
    /// The problem.
    pub problem: Problem,
    /// Steps taken when it was found.
    pub step: u64,
    /// The figures that led to it.
    pub figures: String,
    /// What helps.
    pub advice: String,
}

/// Such as `vanishing gradients: <figures>; <advice>`.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}; {}", self.problem, self.figures, self.advice)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::VanishingGradients => "vanishing gradients",
            Self::ExplodingGradients => "exploding gradients",
            Self::Plateau => "plateau",
            Self::Oscillation => "oscillation",
        })
    }
}
