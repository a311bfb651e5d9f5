//! Checks of numbers against a range.

use super::{Error, short};

/// Refuses a value that is below `min`, infinite or NaN.
pub(crate) fn at_least(name: &str, value: f64, min: f64) -> Result<(), Error> {
    if value.is_finite() && value >= min {
        return Ok(());
    }
    Err(Error::constant(name, format!("finite and at least {}", short(min)), value))
}

/// Refuses a count above `i64::MAX`, the largest that torch's signed 64-bit counters can hold.
pub(crate) fn countable(name: &str, count: u64) -> Result<(), Error> {
    if i64::try_from(count).is_ok() {
        return Ok(());
    }
    Err(Error::constant(name, format!("at most {}", i64::MAX), count))
}

/// Refuses a value that is infinite or NaN.
pub(crate) fn finite(name: &str, value: f64) -> Result<(), Error> {
    if value.is_finite() {
        return Ok(());
    }
    Err(Error::constant(name, "finite", value))
}

/// Refuses a value that is not above `min`, or is infinite or NaN.
pub(crate) fn above(name: &str, value: f64, min: f64) -> Result<(), Error> {
    if value.is_finite() && value > min {
        return Ok(());
    }
    Err(Error::constant(name, format!("finite and above {}", short(min)), value))
}

/// Refuses a value outside `[low, high)`.
pub(crate) fn half_open(name: &str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    if (low..high).contains(&value) {
        return Ok(());
    }
    Err(Error::constant(name, format!("in [{}, {})", short(low), short(high)), value))
}

/// Refuses a value outside `(low, high)`.
pub(crate) fn open(name: &str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    if value > low && value < high {
        return Ok(());
    }
    Err(Error::constant(name, format!("in ({}, {})", short(low), short(high)), value))
}

/// Refuses a value outside `[low, high]`.
pub(crate) fn closed(name: &str, value: f64, low: f64, high: f64) -> Result<(), Error> {
    if (low..=high).contains(&value) {
        return Ok(());
    }
    Err(Error::constant(name, format!("in [{}, {}]", short(low), short(high)), value))
}
