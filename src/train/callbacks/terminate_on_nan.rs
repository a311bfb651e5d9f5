use super::{BatchEnd, Callback, Control};
use crate::error::Error;

/// Stops the run when the loss of a batch is NaN or infinite.
///
/// The few steps that were taken before the loss arrived are not undone: go on from a checkpoint, which such weights never
/// replace.
///
/// Source: Keras 3.15, `keras.callbacks.TerminateOnNaN`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TerminateOnNaN;

impl Callback for TerminateOnNaN {
    fn name(&self) -> &str {
        "TerminateOnNaN"
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, control: &mut Control) -> Result<(), Error> {
        let (step, loss) = (batch.report.step + 1, batch.report.loss);
        if !loss.is_finite() {
            control.stop(format!("the loss of step {step} is {loss}"));
        }
        Ok(())
    }
}
