use crate::error::Error;

/// How a schedule in a [`ChainedScheduler`](super::ChainedScheduler) acts on a rate that other schedules change too.
///
/// ```
/// use gradus::schedule::{Link, Schedule};
///
/// fn sets_the_rate(schedule: &dyn Schedule) -> bool {
///     matches!(schedule.link(), Link::Sets)
/// }
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Link {
    /// It sets the rate and overrides the others.
    Sets,
    /// It multiplies the base rate. The factors of several schedules are multiplied.
    Scales,
    /// Like [`Link::Scales`] before the step `from`. From then on, the rate depends on that of the previous step, see
    /// [`Schedule::follow`](super::Schedule::follow).
    Moves {
        /// The first step that depends on the previous one.
        from: u64,
    },
}

/// The factor from a rate of `before` to a rate of `now`, at `step`.
pub(super) fn ratio(before: f64, now: f64, step: u64) -> Result<f64, Error> {
    match (before == 0.0, now == 0.0) {
        (false, _) => Ok(now / before),
        (true, true) => Ok(1.0),
        (true, false) => {
            let what = format!("schedule ChainedScheduler at step {step}");
            let reason = "the rate is 0, and no factor can raise it again".into();
            Err(Error::Config { what, reason })
        }
    }
}
