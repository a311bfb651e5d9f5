use super::{BatchEnd, Callback, Control, EpochEnd, RunInfo};
use crate::error::Error;

/// Logs the learning rate of each step and at each epoch's end: as `lr`, or as `lr/<group>` for several parameter groups.
///
/// List it before the callbacks that write logs.
///
/// Source: Lightning 2.5, `lightning.pytorch.callbacks.LearningRateMonitor`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LearningRateMonitor {
    names: Vec<String>,
}

impl LearningRateMonitor {
    /// For the groups of the run that it is used in.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn log(&self, lrs: &[f64], control: &mut Control) {
        for (name, lr) in self.names.iter().zip(lrs) {
            control.log(name, *lr);
        }
    }
}

impl Callback for LearningRateMonitor {
    fn name(&self) -> &str {
        "LearningRateMonitor"
    }

    fn on_train_begin(&mut self, run: &RunInfo, _: &mut Control) -> Result<(), Error> {
        self.names = match &run.groups[..] {
            [_] => vec!["lr".into()],
            groups => groups.iter().map(|group| format!("lr/{group}")).collect(),
        };
        Ok(())
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, control: &mut Control) -> Result<(), Error> {
        self.log(batch.lrs, control);
        Ok(())
    }

    fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        self.log(epoch.lrs, control);
        Ok(())
    }
}
