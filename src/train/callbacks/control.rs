use std::collections::BTreeMap;

use crate::error::Error;

/// What callbacks have logged at an event, and what they ask of the run.
///
/// A new one is made for each event. [`Trainer::apply`](crate::train::Trainer::apply) does what concerns the trainer; a
/// loop of one's own stops and saves itself.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Control {
    logs: Vec<(String, f64)>,
    stopped: Option<Stopped>,
    saves: bool,
    rates: Vec<(usize, f64)>,
    weights: Option<BTreeMap<String, Vec<f32>>>,
    notes: Vec<Note>,
    /// Notes that all callbacks were told.
    pub(super) told: usize,
}

/// That a callback has stopped a run, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stopped {
    /// Name of the callback.
    pub by: String,
    /// Its reason.
    pub reason: String,
}

/// What a callback has said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// Name of the callback.
    pub by: String,
    /// What it said, in one or more lines.
    pub text: String,
}

impl Control {
    /// Without logs or requests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Logs a value for the callbacks that follow; a value of the same name is replaced.
    pub fn log(&mut self, name: impl Into<String>, value: f64) {
        let name = name.into();
        match self.logs.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = value,
            None => self.logs.push((name, value)),
        }
    }

    /// All values logged so far, in the order in which their names came.
    pub fn logs(&self) -> impl ExactSizeIterator<Item = (&str, f64)> {
        self.logs.iter().map(|(name, value)| (&name[..], *value))
    }

    /// The value logged as `name`.
    ///
    /// # Errors
    /// [`Error::UnknownName`] with the most similar name.
    pub fn logged(&self, name: &str) -> Result<f64, Error> {
        let found = self.logs().find(|(known, _)| *known == name);
        let unknown = || Error::unknown("metric", name, self.logs().map(|(name, _)| name));
        found.map(|(_, value)| value).ok_or_else(unknown)
    }

    /// Stops the run: after an epoch's end at once, otherwise before its next step. Of several reasons the first counts.
    pub fn stop(&mut self, reason: impl Into<String>) {
        if self.stopped.is_none() {
            self.stopped = Some(Stopped { by: String::new(), reason: reason.into() });
        }
    }

    /// Who has stopped the run, if anybody has.
    #[must_use]
    pub fn stopped(&self) -> Option<&Stopped> {
        self.stopped.as_ref()
    }

    /// Has a checkpoint made once all callbacks have seen the event. It is given to all of them, see
    /// [`Callback::write_checkpoint`](super::Callback::write_checkpoint).
    pub fn save_checkpoint(&mut self) {
        self.saves = true;
    }

    /// Whether a checkpoint was asked for.
    #[must_use]
    pub fn saves(&self) -> bool {
        self.saves
    }

    /// Sets the learning rate of the parameter group with this number.
    pub fn set_lr(&mut self, group: usize, lr: f64) {
        self.rates.push((group, lr));
    }

    /// The rates to set, by number of the group.
    #[must_use]
    pub fn rates(&self) -> &[(usize, f64)] {
        &self.rates
    }

    /// Writes these parameters and buffers, of all names, to the trainer; the optimizer's state stays.
    pub fn restore_weights(&mut self, weights: BTreeMap<String, Vec<f32>>) {
        self.weights = Some(weights);
    }

    /// The parameters and buffers to write.
    #[must_use]
    pub fn weights(&self) -> Option<&BTreeMap<String, Vec<f32>>> {
        self.weights.as_ref()
    }

    /// Says something to whoever watches the run: all callbacks are told, and [`Progress`](super::Progress) prints it.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(Note { by: String::new(), text: text.into() });
    }

    /// What was said.
    #[must_use]
    pub fn notes(&self) -> &[Note] {
        &self.notes
    }

    /// Signs what the callback `name` has just asked for.
    pub(super) fn sign(&mut self, name: &str) {
        let unsigned = self.notes.iter_mut().map(|note| &mut note.by);
        let unsigned = unsigned.chain(self.stopped.iter_mut().map(|stopped| &mut stopped.by));
        unsigned.filter(|by| by.is_empty()).for_each(|by| name.clone_into(by));
    }
}
