use super::objective::{Objective, Point};

const SLOPE_RTOL: f64 = 1e-4;
const DECREASE: f64 = 0.8;
const INCREASE: f64 = 1.5;
const MOST: usize = 100;

/// The first length to try after a step of length `before`.
pub(super) fn guess(before: f64) -> f64 {
    (INCREASE * before).min(1.0)
}

/// The search of `optax.scale_by_backtracking_linesearch(100)` with its defaults: starts at `guess` and shrinks by a
/// fifth until Armijo's condition holds. Returns the start if the last point is not finite.
pub(super) async fn backtracking<L: Objective>(objective: &mut L, guess: f64) -> Result<Point, L::Error> {
    let mut t = guess;
    let mut count = 0;
    loop {
        let new = objective.at(t, &[]).await?;
        let start = objective.start();
        let error = new.loss - start.loss - t * SLOPE_RTOL * start.slope;
        if error <= 0.0 || count == MOST {
            return Ok(if error.is_nan() { start } else { new });
        }
        count += 1;
        t *= DECREASE;
    }
}
