//! Refuses what a method cannot be told, before anything is evaluated.

use super::Minimizer;
use super::options::MinimizeOptions;
use crate::error::{Error, above};

/// The method that the options ask for.
pub(super) fn minimizer(options: &MinimizeOptions<'_>) -> Minimizer {
    options.method.unwrap_or(if !options.constraints.is_empty() {
        Minimizer::Slsqp
    } else if options.bounds.is_some() {
        Minimizer::LbfgsB
    } else {
        Minimizer::Bfgs
    })
}

/// # Errors
/// Whatever of `x0` and `options` the method does not take.
pub(super) fn check(method: Minimizer, x0: &[f64], options: &MinimizeOptions<'_>) -> Result<(), Error> {
    if x0.is_empty() {
        return Err(Error::Length { what: "x0".into(), expected: 1, got: 0 });
    }
    for (i, x) in x0.iter().enumerate() {
        crate::error::finite(&format!("x0[{i}]"), *x)?;
    }
    if let Some(tol) = options.tol {
        above("tol", tol, 0.0)?;
    }
    for (name, max) in
        [("max_evaluations", options.max_evaluations), ("max_iterations", options.max_iterations)]
    {
        if max == Some(0) {
            return Err(Error::constant(name, "at least 1", 0));
        }
    }
    if let Some(bounds) = &options.bounds {
        takes(method, "bounds", Minimizer::takes_bounds)?;
        box_of("bounds", bounds, x0.len())?;
        for (i, (x, (low, high))) in x0.iter().zip(bounds).enumerate() {
            if x < low || x > high {
                let allowed = format!("in its bounds [{}, {}]", short(*low), short(*high));
                return Err(Error::constant(format!("x0[{i}]"), allowed, x));
            }
        }
    }
    if !options.constraints.is_empty() {
        takes(method, "constraints", Minimizer::takes_constraints)?;
    }
    multi_start(x0, options)
}

fn takes(method: Minimizer, what: &str, fits: fn(Minimizer) -> bool) -> Result<(), Error> {
    if fits(method) {
        return Ok(());
    }
    let reason = format!("it takes no {what}; of the methods, {} do", Minimizer::names_that(fits));
    Err(Error::Config { what: format!("method {}", method.name()), reason })
}

fn box_of(name: &str, bounds: &[(f64, f64)], dimensions: usize) -> Result<(), Error> {
    if bounds.len() != dimensions {
        return Err(Error::Length { what: name.into(), expected: dimensions, got: bounds.len() });
    }
    for (i, (low, high)) in bounds.iter().enumerate() {
        let ordered = low <= high && *low < f64::INFINITY && *high > f64::NEG_INFINITY;
        if !ordered {
            let value = format!("({}, {})", short(*low), short(*high));
            return Err(Error::constant(
                format!("{name}[{i}]"),
                "a lower bound and one at least as great",
                value,
            ));
        }
    }
    Ok(())
}

fn multi_start(x0: &[f64], options: &MinimizeOptions<'_>) -> Result<(), Error> {
    let Some(start) = &options.multi_start else { return Ok(()) };
    if start.starts == 0 {
        return Err(Error::constant("starts", "at least 1", 0));
    }
    let name = "region of multi_start";
    box_of(name, &start.region, x0.len())?;
    for (i, (low, high)) in start.region.iter().enumerate() {
        let value = || format!("({}, {})", short(*low), short(*high));
        if !(high - low).is_finite() {
            return Err(Error::constant(format!("{name}[{i}]"), "finite, to draw points from it", value()));
        }
        let bounds = options.bounds.as_ref().and_then(|bounds| bounds.get(i));
        if let Some((least, greatest)) = bounds.filter(|(least, greatest)| low < least || high > greatest) {
            let allowed = format!("within the bounds ({}, {})", short(*least), short(*greatest));
            return Err(Error::constant(format!("{name}[{i}]"), allowed, value()));
        }
    }
    Ok(())
}

fn short(value: f64) -> String {
    crate::error::short(value)
}
