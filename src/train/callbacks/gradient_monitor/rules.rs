//! Finds problems of training by the figures that show them.

use super::diagnosis::{Diagnosis, Problem};
use super::observed::{EARLY, LEVEL, Observed};
use crate::train::callbacks::RunInfo;

/// How many times the first loss or gradient is an explosion.
const LOSSES: f64 = 10.0;
const GRADIENTS: f64 = 1000.0;

/// Reports in a row that a vanishing or growing gradient needs.
const REPORTS: u64 = 2;

/// Losses that an oscillation needs behind the early ones, and a plateau in front of the last.
const LEAST: u64 = 48;

/// How often losses of an oscillation pass from one side to the other.
const SWINGS: usize = 8;

/// Ratio of updates to parameters below which the rate is said to be too small, and above which too large.
const SMALL_UPDATE: f64 = 2e-4;
const LARGE_UPDATE: f64 = 0.05;

/// The problems that have been observed by now.
pub(super) fn of(observed: &Observed, run: &RunInfo, step: u64) -> Vec<Diagnosis> {
    let rules = [exploding, vanishing, oscillation];
    let mut found: Vec<Diagnosis> = rules.iter().find_map(|rule| rule(observed)).into_iter().collect();
    if found.is_empty() && observed.diagnoses.is_empty() && run.first_step == 0 {
        found.extend(plateau(observed));
    }
    found.iter_mut().for_each(|diagnosis| diagnosis.step = step);
    found
}

fn diagnosis(problem: Problem, figures: String, advice: impl Into<String>) -> Option<Diagnosis> {
    Some(Diagnosis { problem, step: 0, figures, advice: advice.into() })
}

/// The latest updates beside the parameters, in words.
fn updates(observed: &Observed) -> String {
    let ratio = |ratio| format!(", and updates are {ratio:.1e} of the parameters, where about 1e-3 is usual");
    observed.ratio().map_or(String::new(), ratio)
}

fn exploding(observed: &Observed) -> Option<Diagnosis> {
    let figures = exploding_figures(observed)? + &updates(observed);
    let advice = match observed.ratio() {
        Some(ratio) if ratio > LARGE_UPDATE => "lower the learning rate, clip the gradients",
        _ => "clip the gradients by their norm, lower the learning rate",
    };
    let rest = "initialise weights by their fan (Xavier, He), normalise layers, scale the inputs";
    diagnosis(Problem::ExplodingGradients, figures, format!("{advice}, {rest}"))
}

fn exploding_figures(observed: &Observed) -> Option<String> {
    if let Some(what) = &observed.not_finite {
        return Some(what.clone());
    }
    if let (Some(first), Some((step, highest))) = (observed.first(), observed.highest)
        && first > 0.0
        && highest > LOSSES * first
    {
        let times = times(highest / first);
        return Some(format!(
            "the loss reached {highest:.3e} at step {step}, {times} times the first loss of {first:.3e}"
        ));
    }
    if let (Some(first), Some((step, longest))) = (observed.first_gradient, observed.longest)
        && first > 0.0
        && longest > GRADIENTS * first
    {
        let times = times(longest / first);
        return Some(format!(
            "the norm of the gradient reached {longest:.3e} at step {step}, {times} times the first of {first:.3e}"
        ));
    }
    let latest = observed.latest.as_ref()?;
    let (first, last, third) = latest.ends.filter(|_| observed.growing >= REPORTS)?;
    let step = latest.step;
    Some(format!(
        "at step {step} the median gradient of an element is {first:.1e} in the first {third} weights and {last:.1e} in \
         the last {third}"
    ))
}

fn times(ratio: f64) -> String {
    if ratio < 1e6 { format!("{ratio:.0}") } else { format!("{ratio:.1e}") }
}

fn vanishing(observed: &Observed) -> Option<Diagnosis> {
    let latest = observed.latest.as_ref()?;
    let step = latest.step;
    let advice = "use ReLU or another function that does not saturate, normalise layers (batch or layer \
                  normalisation), initialise weights by their fan (Xavier, He), add residual connections";
    if let Some((first, last, third)) = latest.ends.filter(|_| observed.vanishing >= REPORTS) {
        let figures = format!(
            "at step {step} the median gradient of an element is {first:.1e} in the first {third} weights and {last:.1e} \
             in the last {third}"
        );
        return diagnosis(Problem::VanishingGradients, figures, advice);
    }
    let norms: crate::optim::Norms = latest.total.into();
    if norms.gradient == 0.0 {
        let dead = observed.dead_units.filter(|dead| *dead > 0.0);
        let dead =
            dead.map_or(String::new(), |dead| format!(", and {:.0} % of the units have none", 100.0 * dead));
        return diagnosis(
            Problem::VanishingGradients,
            format!("all gradients of step {step} are 0{dead}"),
            advice,
        );
    }
    None
}

fn oscillation(observed: &Observed) -> Option<Diagnosis> {
    let first = observed.first().filter(|first| *first > 0.0)?;
    // The drop at the beginning is no swing.
    let begin = (EARLY + observed.losses.len() as u64).saturating_sub(observed.batches);
    let losses: Vec<f64> = observed.losses.iter().copied().skip(usize::try_from(begin).ok()?).collect();
    if (losses.len() as u64) < LEAST {
        return None;
    }
    let Swing { mean, deviation, fall, correlation, swings } = Swing::of(&losses);
    let waves = correlation.abs() > 0.4 && deviation > 0.1 * first;
    if !(waves || deviation > first) || fall.abs() > 4.0 * deviation || swings < SWINGS {
        return None;
    }
    let count = losses.len();
    let figures = format!(
        "the last {count} losses swing {swings} times by {deviation:.3e} around {mean:.3e}, {:.0} % of the first loss, with a \
         correlation of {correlation:.2} from one to the next{}",
        100.0 * deviation / first,
        updates(observed)
    );
    let advice = "lower the learning rate, let a schedule lower it, lower the momentum, take larger batches or an adaptive \
                  rule such as Adam";
    diagnosis(Problem::Oscillation, figures, advice)
}

fn plateau(observed: &Observed) -> Option<Diagnosis> {
    let first = observed.first().filter(|first| *first > 0.0)?;
    // An oscillation would be known by then.
    if observed.batches < LEAST + EARLY + LEVEL as u64 {
        return None;
    }
    let last = observed.last(LEVEL);
    let before = first.max(observed.early());
    if observed.lowest? < 0.97 * before || last > 1.1 * before {
        return None;
    }
    let batches = observed.batches;
    let figures = format!(
        "after {batches} batches the loss is {last:.4}, {:.1} % below that of the beginning{}",
        100.0 * (1.0 - last / before),
        updates(observed)
    );
    let dead = observed.dead_units.filter(|dead| *dead > 0.5);
    let figures = figures
        + &dead
            .map_or(String::new(), |dead| format!("; {:.0} % of the units have no gradient", 100.0 * dead));
    let advice = match observed.ratio() {
        Some(ratio) if ratio < SMALL_UPDATE => {
            "the learning rate is too small: raise it, or let a warm-up find the largest that works"
        }
        _ => {
            "the learning rate moves the weights, so look at the initial weights (Xavier, He), the batch size, another \
             optimizer or momentum, the labels, and whether the model can fit the data"
        }
    };
    diagnosis(Problem::Plateau, figures, advice)
}

/// How losses move about the straight line through them.
struct Swing {
    mean: f64,
    /// Standard deviation from the line.
    deviation: f64,
    /// What the line falls from its beginning to its end.
    fall: f64,
    /// Correlation of a deviation with the next one.
    correlation: f64,
    /// How often they pass from half a deviation on one side of the line to the other side.
    swings: usize,
}

impl Swing {
    fn of(losses: &[f64]) -> Self {
        let count = losses.len() as f64;
        let mean = losses.iter().sum::<f64>() / count;
        let places = (0..losses.len()).map(|at| at as f64 - (count - 1.0) / 2.0);
        let square: f64 = places.clone().map(|place| place * place).sum();
        let slope =
            places.clone().zip(losses).map(|(place, loss)| place * (loss - mean)).sum::<f64>() / square;
        let rest: Vec<f64> = places.zip(losses).map(|(place, loss)| loss - mean - slope * place).collect();
        let variance = rest.iter().map(|rest| rest * rest).sum::<f64>();
        let lagged = rest.windows(2).map(|two| two[0] * two[1]).sum::<f64>();
        let correlation = if variance > 0.0 { lagged / variance } else { 0.0 };
        let deviation = (variance / count).sqrt();
        let far = rest.iter().filter(|rest| rest.abs() > deviation / 2.0).map(|rest| *rest > 0.0);
        let far: Vec<bool> = far.collect();
        let swings = far.windows(2).filter(|two| two[0] != two[1]).count();
        Self { mean, deviation, fall: -slope * (count - 1.0), correlation, swings }
    }
}

#[cfg(test)]
mod tests;
