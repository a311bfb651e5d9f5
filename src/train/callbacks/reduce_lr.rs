use serde_json::Value;

use super::{Callback, Control, EpochEnd, RunInfo, to_state};
use crate::error::Error;
use crate::schedule::{self, PlateauState, Schedule};

/// Reduces the learning rates when a logged value stops improving, as [`schedule::ReduceLROnPlateau`] does.
///
/// For a run without a schedule. A run whose trainer has that schedule needs no callback: it is given the loss of each
/// epoch. Rates of all groups are reduced, each from what it is then.
///
/// ```
/// use gradus::schedule;
/// use gradus::train::callbacks::ReduceLROnPlateau;
///
/// let plateau = schedule::ReduceLROnPlateau { factor: 0.2, patience: 5, min_lr: 1e-4, ..Default::default() };
/// let callback = ReduceLROnPlateau { plateau, ..ReduceLROnPlateau::default() };
/// assert_eq!(callback.monitor, "val_loss");
/// ```
///
/// Source: Keras 3.15, `keras.callbacks.ReduceLROnPlateau`. Differs: the options are PyTorch's; NaN is refused.
#[derive(Clone, Debug, PartialEq)]
pub struct ReduceLROnPlateau {
    /// Name of the logged value. Default `val_loss`.
    pub monitor: String,
    /// When rates are reduced, and by how much.
    pub plateau: schedule::ReduceLROnPlateau,
}

impl Default for ReduceLROnPlateau {
    fn default() -> Self {
        Self { monitor: "val_loss".into(), plateau: schedule::ReduceLROnPlateau::default() }
    }
}

impl Callback for ReduceLROnPlateau {
    fn name(&self) -> &str {
        "ReduceLROnPlateau"
    }

    fn check(&self, run: &RunInfo) -> Result<(), Error> {
        self.plateau.check()?;
        if run.scheduled {
            let reason = "the trainer's schedule sets the rates: give it schedule::ReduceLROnPlateau instead, or no schedule";
            return Err(Error::Config { what: "learning rate".into(), reason: reason.into() });
        }
        Ok(())
    }

    fn on_train_begin(&mut self, run: &RunInfo, _: &mut Control) -> Result<(), Error> {
        if !run.resumed {
            self.plateau.state = PlateauState::default();
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        let before = self.plateau.state.num_reductions;
        self.plateau.observe(control.logged(&self.monitor)?)?;
        if self.plateau.state.num_reductions > before {
            for (group, lr) in epoch.lrs.iter().enumerate() {
                control.set_lr(group, self.plateau.reduced(*lr));
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Option<Value>, Error> {
        Ok(to_state(&self.plateau.state))
    }

    fn load_state(&mut self, state: &Value) -> Result<(), Error> {
        self.plateau.load_state(state)
    }
}
