use super::Point;
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

/// The rate `lr` times what multiplies the schedule's own from the step before to `step`.
pub(super) fn scaled(
    at: &dyn Fn(u64) -> Result<Point, Error>,
    step: u64,
    base: f64,
    lr: f64,
) -> Result<Point, Error> {
    let now = at(step)?;
    let before = if step == 0 { base } else { at(step - 1)?.lr };
    let lr = match (before == 0.0, now.lr == 0.0) {
        (false, _) => lr * (now.lr / before),
        (true, true) => lr,
        (true, false) => {
            let what = format!("schedule ChainedScheduler at step {step}");
            let reason = "the rate was 0, and no factor makes it rise again".into();
            return Err(Error::Config { what, reason });
        }
    };
    Ok(Point { lr, ..now })
}
