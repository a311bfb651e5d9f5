use std::fmt;

use serde_json::{Map, Value};

use super::{BatchEnd, Callback, Control, EpochEnd, Reads, RunInfo, TrainEnd};
use crate::error::Error;
use crate::train::Checkpoint;

/// The callbacks of a run, in order. Each method calls one event of all of them.
///
/// ```
/// use gradus::train::callbacks::{CSVLogger, Callbacks, EarlyStopping, ModelCheckpoint, Progress};
///
/// let mut stopping = EarlyStopping { patience: 3, ..Default::default() };
/// let mut callbacks = Callbacks::new()
///     .with(CSVLogger::epochs("runs/first/history.csv"))
///     .with(&mut stopping)
///     .with(Progress::default())
///     .with(ModelCheckpoint::new("runs/first"));
/// ```
#[derive(Default)]
pub struct Callbacks<'a> {
    list: Vec<Box<dyn Callback + 'a>>,
}

/// The entry of [`Checkpoint::run`] with states of callbacks.
const STATES: &str = "callbacks";

impl fmt::Debug for Callbacks<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.list.iter().map(|callback| callback.name())).finish()
    }
}

impl<'a> Callbacks<'a> {
    /// No callbacks.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one, or a mutable reference to one.
    #[must_use]
    pub fn with(mut self, callback: impl Callback + 'a) -> Self {
        self.push(callback);
        self
    }

    /// Adds one, or a mutable reference to one.
    pub fn push(&mut self, callback: impl Callback + 'a) {
        self.list.push(Box::new(callback));
    }

    /// The number of callbacks.
    #[must_use]
    pub fn len(&self) -> usize {
        self.list.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// Calls [`Callback::check`].
    ///
    /// # Errors
    /// [`Error::Callback`].
    pub fn check(&self, run: &RunInfo) -> Result<(), Error> {
        self.list
            .iter()
            .try_for_each(|callback| callback.check(run).map_err(|error| failed(&**callback, error)))
    }

    /// Steps between those whose norms are needed: the greatest common divisor of what callbacks ask for, 0 for none.
    #[must_use]
    pub fn norms_every(&self) -> u64 {
        self.list.iter().map(|callback| callback.norms_every()).fold(0, gcd)
    }

    /// Calls [`Callback::on_train_begin`].
    ///
    /// # Errors
    /// [`Error::Callback`].
    pub fn on_train_begin(&mut self, run: &RunInfo, control: &mut Control) -> Result<(), Error> {
        self.each(control, |callback, control| callback.on_train_begin(run, control))
    }

    /// Calls [`Callback::on_epoch_begin`].
    ///
    /// # Errors
    /// [`Error::Callback`].
    pub fn on_epoch_begin(&mut self, epoch: u64, control: &mut Control) -> Result<(), Error> {
        self.each(control, |callback, control| callback.on_epoch_begin(epoch, control))
    }

    /// Calls [`Callback::on_train_batch_begin`].
    ///
    /// # Errors
    /// [`Error::Callback`].
    pub fn on_train_batch_begin(&mut self, step: u64, control: &mut Control) -> Result<(), Error> {
        self.each(control, |callback, control| callback.on_train_batch_begin(step, control))
    }

    /// Calls [`Callback::on_train_batch_end`].
    ///
    /// # Errors
    /// [`Error::Callback`].
    pub fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, control: &mut Control) -> Result<(), Error> {
        self.each(control, |callback, control| callback.on_train_batch_end(batch, control))
    }

    /// Calls [`Callback::reads`]; returns what any of them needs.
    ///
    /// # Errors
    /// [`Error::Callback`].
    pub fn reads(&self, epoch: u64, control: &Control) -> Result<Reads, Error> {
        self.list.iter().try_fold(Reads::default(), |reads, callback| {
            Ok(reads.or(callback.reads(epoch, control).map_err(|error| failed(&**callback, error))?))
        })
    }

    /// Calls [`Callback::on_epoch_end`].
    ///
    /// # Errors
    /// [`Error::Callback`].
    pub fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        self.each(control, |callback, control| callback.on_epoch_end(epoch, control))
    }

    /// Calls [`Callback::on_train_end`].
    ///
    /// # Errors
    /// [`Error::Callback`].
    pub fn on_train_end(&mut self, end: &TrainEnd<'_>, control: &mut Control) -> Result<(), Error> {
        self.each(control, |callback, control| callback.on_train_end(end, control))
    }

    /// Puts the states of all callbacks into `checkpoint`, under the key `callbacks` of [`Checkpoint::run`], and calls
    /// [`Callback::on_save_checkpoint`].
    ///
    /// # Errors
    /// [`Error::Callback`].
    pub fn on_save_checkpoint(&mut self, checkpoint: &mut Checkpoint) -> Result<(), Error> {
        let mut states = Map::new();
        for (key, callback) in self.keyed() {
            if let Some(state) = callback.state().map_err(|error| failed(callback, error))? {
                states.insert(key, state);
            }
            callback.on_save_checkpoint(checkpoint).map_err(|error| failed(callback, error))?;
        }
        checkpoint.run.insert(STATES.into(), states.into());
        Ok(())
    }

    /// Takes over what [`Callbacks::on_save_checkpoint`] has put into `checkpoint`.
    ///
    /// # Errors
    /// [`Error::File`] with the checkpoint's file if the callbacks with a state are not the same as those of its run, by
    /// name and number; [`Error::Callback`].
    pub fn on_load_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        let none = Map::new();
        let states = checkpoint.run.get(STATES).and_then(Value::as_object).unwrap_or(&none);
        let mut ours = Vec::new();
        for (key, callback) in self.keyed() {
            if callback.state().map_err(|error| failed(callback, error))?.is_some() {
                ours.push(key);
            }
        }
        ours.sort();
        if !states.keys().eq(&ours) {
            let shown = |keys: Vec<&str>| if keys.is_empty() { "none".into() } else { keys.join(", ") };
            let theirs = shown(states.keys().map(|key| &key[..]).collect());
            let ours = shown(ours.iter().map(|key| &key[..]).collect());
            let reason = format!("its callbacks with a state are {theirs}, this run's are {ours}");
            return Err(checkpoint.refuse(reason));
        }
        for (key, callback) in self.keyed() {
            if let Some(state) = states.get(&key) {
                callback.load_state(state).map_err(|error| failed(callback, error))?;
            }
            callback.on_load_checkpoint(checkpoint).map_err(|error| failed(callback, error))?;
        }
        Ok(())
    }

    /// Calls [`Callback::write_checkpoint`].
    ///
    /// # Errors
    /// [`Error::Callback`].
    pub fn write_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Error> {
        for callback in &mut self.list {
            callback.write_checkpoint(checkpoint).map_err(|error| failed(&**callback, error))?;
        }
        Ok(())
    }

    /// Callbacks by the keys of their states: the name, and its number if it is not the first of that name.
    fn keyed(&mut self) -> impl Iterator<Item = (String, &mut (dyn Callback + 'a))> {
        let names: Vec<String> = self.list.iter().map(|callback| callback.name().to_owned()).collect();
        self.list.iter_mut().enumerate().map(move |(index, callback)| {
            let name = &names[index];
            let key = match names[..index].iter().filter(|earlier| *earlier == name).count() {
                0 => name.clone(),
                earlier => format!("{name} {}", earlier + 1),
            };
            (key, &mut **callback)
        })
    }

    fn each(
        &mut self,
        control: &mut Control,
        mut event: impl FnMut(&mut dyn Callback, &mut Control) -> Result<(), Error>,
    ) -> Result<(), Error> {
        for callback in &mut self.list {
            event(&mut **callback, control).map_err(|error| failed(&**callback, error))?;
            control.sign(callback.name());
        }
        for note in &control.notes()[control.told..] {
            for callback in &mut self.list {
                callback.on_note(note).map_err(|error| failed(&**callback, error))?;
            }
        }
        control.told = control.notes().len();
        Ok(())
    }
}

fn failed(callback: &(impl Callback + ?Sized), error: Error) -> Error {
    Error::Callback { callback: callback.name().into(), error: Box::new(error) }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
