//! Callbacks: what watches a run, stops it, saves it and writes it down.
//!
//! A callback is one trait, [`Callback`], whose events all have a default. [`Trainer::fit`](super::Trainer::fit) calls
//! them, and so can a loop of one's own:
//!
//! ```no_run
//! // Needs a device.
//! use gradus::optim::AdamW;
//! use gradus::train::Trainer;
//! use gradus::train::callbacks::{BatchEnd, CSVLogger, Callbacks, Control, TerminateOnNaN, TrainEnd};
//!
//! fn train(trainer: &mut Trainer<AdamW>, x: &Vec<f32>, y: &Vec<u32>) -> Result<(), gradus::Error> {
//!     let mut callbacks = Callbacks::new().with(TerminateOnNaN).with(CSVLogger::steps("loss.csv", 1));
//!     let mut control = Control::new();
//!     callbacks.on_train_begin(&trainer.run_info(1, 1000), &mut control)?;
//!     for step in 0..1000 {
//!         trainer.step(&[("x", x), ("y", y)])?;
//!         // What has arrived, and nothing is waited for; all that is left after the last step.
//!         while let Some(report) = if step < 999 { trainer.poll()? } else { trainer.read_report()? } {
//!             let mut control = Control::new();
//!             control.log("loss", report.loss.into());
//!             callbacks.on_train_batch_end(&BatchEnd::of(&report), &mut control)?;
//!             trainer.apply(&control)?;
//!             if control.stopped().is_some() {
//!                 return callbacks.on_train_end(&TrainEnd::of(trainer.steps()), &mut control);
//!             }
//!         }
//!     }
//!     callbacks.on_train_end(&TrainEnd::of(trainer.steps()), &mut control)
//! }
//! ```
//!
//! [`from_json`] makes callbacks by name.

mod append;
mod control;
mod csv_logger;
#[cfg(feature = "dashboard")]
mod dashboard;
mod early_stopping;
mod events;
mod gradient_monitor;
mod json;
mod learning_rate;
mod list;
mod model_checkpoint;
mod progress;
mod reduce_lr;
mod tensorboard;
mod terminate_on_nan;

use serde_json::Value;

use super::Checkpoint;
use crate::error::Error;

pub use super::early_stopping::EarlyStopping;
pub use control::{Control, Note, Stopped};
pub use csv_logger::CSVLogger;
#[cfg(feature = "dashboard")]
pub use dashboard::Dashboard;
pub use events::{BatchEnd, EpochEnd, Reads, RunInfo, TrainEnd};
pub use gradient_monitor::{Diagnosis, GradientMonitor, Problem};
pub use json::{from_json, with_defaults};
pub use learning_rate::LearningRateMonitor;
pub use list::Callbacks;
pub use model_checkpoint::ModelCheckpoint;
pub use progress::{Progress, ProgressStyle};
pub use reduce_lr::ReduceLROnPlateauCallback;
pub use tensorboard::TensorBoard;
pub use terminate_on_nan::TerminateOnNaN;

/// Something that follows a run. All events do nothing by default.
///
/// An event gets what has arrived on the host, and waits for nothing: steps are reported a few steps after they were
/// taken. What a callback wants of the run it asks of the [`Control`]: to stop, to save, to change rates, to write
/// weights back, to log a value, to say something. Callbacks run in the order in which they are listed; one sees the
/// values that those before it have logged. An error ends the run as [`Error::Callback`] with the callback's name; what
/// was saved before stays as it is.
///
/// A run that is resumed from a checkpoint goes on as if it had never been interrupted if [`Callback::state`] holds all
/// that the callback has kept of the events so far, and if files that it writes are cut back to what they were then.
///
/// ```
/// use gradus::train::callbacks::{BatchEnd, Callback, Control};
///
/// /// Stops once the loss of a batch is low enough.
/// struct Enough(f32);
///
/// impl Callback for Enough {
///     fn name(&self) -> &str {
///         "Enough"
///     }
///
///     fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, control: &mut Control) -> Result<(), gradus::Error> {
///         if batch.report.loss < self.0 {
///             control.stop(format!("a loss of {} is enough", batch.report.loss));
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait Callback: Send + Sync {
    /// Its name, for messages and for its state in a checkpoint.
    fn name(&self) -> &str;

    /// Refuses options that are out of range. Called before the run begins.
    ///
    /// # Errors
    /// [`Error::Constant`], [`Error::Config`].
    fn check(&self, _run: &RunInfo) -> Result<(), Error> {
        Ok(())
    }

    /// Steps between those whose norms it needs, as for [`Trainer::report_norms`](super::Trainer::report_norms). Default 0:
    /// none.
    fn norms_every(&self) -> u64 {
        0
    }

    /// Before the first step. A resumed run has loaded its state by then.
    ///
    /// # Errors
    /// Any ends the run.
    fn on_train_begin(&mut self, _run: &RunInfo, _control: &mut Control) -> Result<(), Error> {
        Ok(())
    }

    /// Before the first step of epoch `epoch`, from 1. Not called again where a run resumes within an epoch.
    ///
    /// # Errors
    /// Any ends the run.
    fn on_epoch_begin(&mut self, _epoch: u64, _control: &mut Control) -> Result<(), Error> {
        Ok(())
    }

    /// Before a step is taken, when `step` steps were taken. Here [`Control::save_checkpoint`] saves exactly these steps;
    /// a save waits for their reports.
    ///
    /// # Errors
    /// Any ends the run.
    fn on_train_batch_begin(&mut self, _step: u64, _control: &mut Control) -> Result<(), Error> {
        Ok(())
    }

    /// When the report of a batch has arrived, some steps after it was taken. The logs hold `loss` and the metrics of the
    /// batch.
    ///
    /// # Errors
    /// Any ends the run.
    fn on_train_batch_end(&mut self, _batch: &BatchEnd<'_>, _control: &mut Control) -> Result<(), Error> {
        Ok(())
    }

    /// What [`Callback::on_epoch_end`] needs read from the device. Default: nothing. The logs are those of the epoch.
    ///
    /// # Errors
    /// Any ends the run.
    fn reads(&self, _epoch: u64, _control: &Control) -> Result<Reads, Error> {
        Ok(Reads::default())
    }

    /// After an epoch and its evaluation. The logs hold `train_loss` and the other means over the epoch, `val_loss` and
    /// so on if there are validation data, and `lr`.
    ///
    /// # Errors
    /// Any ends the run.
    fn on_epoch_end(&mut self, _epoch: &EpochEnd<'_>, _control: &mut Control) -> Result<(), Error> {
        Ok(())
    }

    /// When a callback, this one included, has [said something](Control::note).
    ///
    /// # Errors
    /// Any ends the run.
    fn on_note(&mut self, _note: &Note) -> Result<(), Error> {
        Ok(())
    }

    /// After the last step, also if a callback has stopped the run; not after an error.
    ///
    /// # Errors
    /// Any ends the run.
    fn on_train_end(&mut self, _end: &TrainEnd<'_>, _control: &mut Control) -> Result<(), Error> {
        Ok(())
    }

    /// What a checkpoint keeps of it, `None` if it has no state. Files that it writes must be on disk when this returns.
    /// Numbers must be finite.
    ///
    /// # Errors
    /// Any ends the run.
    fn state(&mut self) -> Result<Option<Value>, Error> {
        Ok(None)
    }

    /// Takes over a [`Callback::state`], before [`Callback::on_train_begin`]. It touches no file yet.
    ///
    /// # Errors
    /// [`Error::StateDict`] for a state of another form.
    fn load_state(&mut self, _state: &Value) -> Result<(), Error> {
        Err(Error::StateDict("this callback has no state".into()))
    }

    /// Adds more than a [`Callback::state`] to a checkpoint, such as tensors.
    ///
    /// # Errors
    /// Any ends the run.
    fn on_save_checkpoint(&mut self, _checkpoint: &mut Checkpoint) -> Result<(), Error> {
        Ok(())
    }

    /// Takes over what [`Callback::on_save_checkpoint`] has added, before [`Callback::on_train_begin`].
    ///
    /// # Errors
    /// [`Error::File`] with [`Checkpoint::refuse`].
    fn on_load_checkpoint(&mut self, _checkpoint: &Checkpoint) -> Result<(), Error> {
        Ok(())
    }

    /// Receives a complete checkpoint after some callback has asked for one, to write it.
    ///
    /// # Errors
    /// Any ends the run.
    fn write_checkpoint(&mut self, _checkpoint: &Checkpoint) -> Result<(), Error> {
        Ok(())
    }
}

macro_rules! forwards {
    ($(#[$doc:meta])* $of:ty) => {
        $(#[$doc])*
        impl<C: Callback + ?Sized> Callback for $of {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn check(&self, run: &RunInfo) -> Result<(), Error> {
        (**self).check(run)
    }

    fn norms_every(&self) -> u64 {
        (**self).norms_every()
    }

    fn on_train_begin(&mut self, run: &RunInfo, control: &mut Control) -> Result<(), Error> {
        (**self).on_train_begin(run, control)
    }

    fn on_epoch_begin(&mut self, epoch: u64, control: &mut Control) -> Result<(), Error> {
        (**self).on_epoch_begin(epoch, control)
    }

    fn on_train_batch_begin(&mut self, step: u64, control: &mut Control) -> Result<(), Error> {
        (**self).on_train_batch_begin(step, control)
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, control: &mut Control) -> Result<(), Error> {
        (**self).on_train_batch_end(batch, control)
    }

    fn reads(&self, epoch: u64, control: &Control) -> Result<Reads, Error> {
        (**self).reads(epoch, control)
    }

    fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        (**self).on_epoch_end(epoch, control)
    }

    fn on_note(&mut self, note: &Note) -> Result<(), Error> {
        (**self).on_note(note)
    }

    fn on_train_end(&mut self, end: &TrainEnd<'_>, control: &mut Control) -> Result<(), Error> {
        (**self).on_train_end(end, control)
    }

    fn state(&mut self) -> Result<Option<Value>, Error> {
        (**self).state()
    }

    fn load_state(&mut self, state: &Value) -> Result<(), Error> {
        (**self).load_state(state)
    }

    fn on_save_checkpoint(&mut self, checkpoint: &mut Checkpoint) -> Result<(), Error> {
        (**self).on_save_checkpoint(checkpoint)
    }

    fn on_load_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        (**self).on_load_checkpoint(checkpoint)
    }

    fn write_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        (**self).write_checkpoint(checkpoint)
    }
        }
    };
}

forwards!(
    /// A borrowed callback, to read it after the run.
    &mut C
);
forwards!(
    /// One of any kind, such as [`from_json`] makes.
    Box<C>
);

/// The state of the callback `name`, read into its type.
fn read_state<T: serde::de::DeserializeOwned>(name: &str, state: &Value) -> Result<T, Error> {
    T::deserialize(state).map_err(|error| Error::StateDict(format!("{name}: {error}")))
}

/// A state as JSON.
fn to_state(state: &impl serde::Serialize) -> Option<Value> {
    Some(serde_json::to_value(state).expect("counts, names and numbers"))
}
