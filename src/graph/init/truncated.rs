//! Truncated normal numbers.

use rand::Rng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};

use super::{MOST_DEVIATIONS, narrow};
use crate::Error;

/// Refuses bounds in the wrong order, an invalid standard deviation, and values that are not finite in f32.
pub(super) fn check(name: &str, mean: f64, std: f64, [a, b]: [f64; 2]) -> Result<(), Error> {
    let refuse = |what: &str, allowed: String, got: f64| {
        Err(Error::constant(format!("{name}: {what} of its initialiser"), allowed, got))
    };
    if !mean.is_finite() {
        return refuse("the mean", "finite".into(), mean);
    }
    if !(std.is_finite() && std > 0.0) {
        return refuse("the deviation", "finite and above 0".into(), std);
    }
    if a.is_nan() || a == f64::INFINITY {
        return refuse("the lower bound", "a number below infinity".into(), a);
    }
    if b.is_nan() || b < a || b == f64::NEG_INFINITY {
        return refuse("the upper bound", format!("at least the lower one, {a}"), b);
    }
    // If the mean is far outside of the bounds, values are drawn near the closer bound.
    let most = [mean.clamp(a, b) - MOST_DEVIATIONS * std, mean.clamp(a, b) + MOST_DEVIATIONS * std];
    for (bound, value) in [("the lower bound", most[0].max(a)), ("the upper bound", most[1].min(b))] {
        if !narrow(value).is_finite() {
            return refuse(bound, "such that all values are finite in 32 bits".into(), value);
        }
    }
    Ok(())
}

/// A normal number with this mean and standard deviation, within bounds.
pub(super) fn draw(random: &mut impl Rng, mean: f64, std: f64, [a, b]: [f64; 2]) -> f64 {
    let (low, high, width) = ((a - mean) / std, (b - mean) / std, (b - a) / std);
    // Tails are drawn relative to their bound, so that nothing cancels, however far away the mean is.
    if low > 0.0 {
        (a + std * tail(random, low, width)).min(b)
    } else if high < 0.0 {
        (b - std * tail(random, -high, width)).max(a)
    } else {
        (mean + std * around(random, low, high)).clamp(a, b)
    }
}

fn uniform(random: &mut impl Rng) -> f64 {
    StandardUniform.sample(random)
}

/// A standard normal number in an interval that contains 0.
fn around(random: &mut impl Rng, low: f64, high: f64) -> f64 {
    // Each proposal is accepted with a probability of almost one half or more.
    let is_wide = high - low > (2.0 * std::f64::consts::PI).sqrt();
    loop {
        let (z, accepted) = if is_wide {
            let z = StandardNormal.sample(random);
            (z, (low..=high).contains(&z))
        } else {
            let z = low + (high - low) * uniform(random);
            (z, uniform(random) <= (-z * z / 2.0).exp())
        };
        if accepted {
            return z;
        }
    }
}

/// The distance above `low` (positive) of a standard normal number, given that it is at most `width` (Robert 1995).
fn tail(random: &mut impl Rng, low: f64, width: f64) -> f64 {
    if low == f64::INFINITY {
        return 0.0;
    }
    let root = low.hypot(2.0);
    // Uses an exponential proposal for a long tail, and a uniform one for a short interval.
    let rate = (low + root) / 2.0;
    let is_wide = width * rate > (0.5 - low / (low + root)).exp();
    loop {
        let (above, exponent) = if is_wide {
            let above = -(1.0 - uniform(random)).ln() / rate;
            (above, -(above - 2.0 / (low + root)).powi(2) / 2.0)
        } else {
            let above = width * uniform(random);
            (above, -above * (2.0 * low + above) / 2.0)
        };
        if above <= width && uniform(random) <= exponent.exp() {
            return above;
        }
    }
}
