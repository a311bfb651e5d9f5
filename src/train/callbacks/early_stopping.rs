use super::{Callback, Control, EarlyStopping, EpochEnd, Reads, RunInfo, TrainEnd};
use crate::error::Error;
use crate::train::{Checkpoint, EarlyStoppingState};

impl Callback for EarlyStopping {
    fn name(&self) -> &str {
        "EarlyStopping"
    }

    fn check(&self, _: &RunInfo) -> Result<(), Error> {
        EarlyStopping::check(self)
    }

    fn on_train_begin(&mut self, run: &RunInfo, control: &mut Control) -> Result<(), Error> {
        if !run.resumed {
            self.state = EarlyStoppingState::default();
        }
        // The checkpoint was made when it had just stopped.
        if let Some(epoch) = self.state.stopped_epoch {
            control.stop(self.reason(epoch));
        }
        Ok(())
    }

    fn reads(&self, _: u64, control: &Control) -> Result<Reads, Error> {
        if !self.restore_best_weights {
            return Ok(Reads::default());
        }
        let mut next = self.without_weights();
        next.observe(control.logged(&self.monitor)?)?;
        Ok(Reads { weights: self.keeps(&next), ..Reads::default() })
    }

    fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        let metric = control.logged(&self.monitor)?;
        let mut next = self.without_weights();
        let stop = next.observe(metric)?;
        let kept = if self.keeps(&next) { epoch.weights.cloned() } else { None };
        next.state.best_weights = kept.or(self.state.best_weights.take());
        self.state = next.state;
        if stop {
            control.stop(self.reason(self.state.epochs - 1));
        }
        Ok(())
    }

    fn on_train_end(&mut self, _: &TrainEnd<'_>, control: &mut Control) -> Result<(), Error> {
        if let Some(weights) = &self.state.best_weights {
            control.restore_weights(weights.clone());
        }
        Ok(())
    }

    fn on_save_checkpoint(&mut self, checkpoint: &mut Checkpoint) -> Result<(), Error> {
        if checkpoint.early_stopping.is_some() {
            let reason = "it holds the state of one EarlyStopping, and this run has several".into();
            return Err(Error::Config { what: "checkpoint".into(), reason });
        }
        checkpoint.early_stopping = Some(self.state.clone());
        Ok(())
    }

    fn on_load_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let missing = || checkpoint.refuse("it has no state of early stopping");
        self.state = checkpoint.early_stopping.clone().ok_or_else(missing)?;
        Ok(())
    }
}

impl EarlyStopping {
    /// Why it stops after the metric with index `epoch`.
    fn reason(&self, epoch: u64) -> String {
        let Self { monitor, patience, state, .. } = self;
        let best = state.best.0.unwrap_or(self.mode.worst());
        let best_epoch = state.best_epoch.map_or(0, |best| best + 1);
        format!(
            "{monitor} has not improved on {best} of epoch {best_epoch} up to epoch {}, with a patience of {patience}",
            epoch + 1
        )
    }
}
