//! Timed rounds of steps, which alternate so that all see the same machine load.

use anyhow::Result;

pub(crate) const ROUNDS: usize = 7;

/// Approximate length of a round in seconds.
const ROUND: f64 = 0.3;

/// Seconds per step, over rounds of about as many steps as fit in [`ROUND`].
#[derive(Default)]
pub(crate) struct Rounds {
    steps: usize,
    pub(crate) times: Vec<f64>,
}

impl Rounds {
    pub(crate) fn one(&mut self, mut time: impl FnMut(usize) -> Result<f64>) -> Result<()> {
        if self.steps == 0 {
            let each = time(3)? / 3.0;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number")]
            let steps = (ROUND / each).clamp(3.0, 1000.0) as usize;
            self.steps = steps;
        }
        self.times.push(time(self.steps)? / self.steps as f64);
        Ok(())
    }
}

pub(crate) fn median(numbers: &[f64]) -> f64 {
    let mut sorted = numbers.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}
