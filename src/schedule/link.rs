use crate::error::Error;

/// How a schedule acts on a rate that other schedules move as well, in a
/// [`ChainedScheduler`](super::ChainedScheduler).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It sets the rate, whatever the others did.
    Sets,
    /// It multiplies the base rate, and the factors of several multiply each other.
    Scales,
    /// As [`Link::Scales`] before the step `from`; from then on the rate depends on that of the step before,
    /// as [`Schedule::follow`](super::Schedule::follow) says.
    Moves {
        /// The first step that depends on the one before.
        from: u64,
    },
}

/// What multiplies a rate of `before` to give that of `now`, at `step`.
pub(super) fn ratio(before: f64, now: f64, step: u64) -> Result<f64, Error> {
    match (before == 0.0, now == 0.0) {
        (false, _) => Ok(now / before),
        (true, true) => Ok(1.0),
        (true, false) => {
            let what = format!("schedule ChainedScheduler at step {step}");
            let reason = "the rate was 0, and no factor makes it rise again".into();
            Err(Error::Config { what, reason })
        }
    }
}
