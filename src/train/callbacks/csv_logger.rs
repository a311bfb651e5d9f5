use std::fmt::Write;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::append::{AppendFile, Length};
use super::{BatchEnd, Callback, Control, EpochEnd, RunInfo, read_state, to_state};
use crate::error::Error;
use crate::train::history::field;

/// Writes what is logged as CSV (RFC 4180, with LF at line ends), a row for each epoch or for each few steps.
///
/// The columns are `epoch`, `steps` and the values that are logged at the first row, in their order; values of other names are
/// left out later, and a cell is empty where a value is missing. Numbers are the shortest decimals that parse to the same
/// f64; others are `NaN`, `inf` and `-inf`. Each row can be read as soon as it is written. A new run replaces the file; a
/// resumed run first cuts off the rows that came after its checkpoint, so that none comes twice.
///
/// Source: Keras 3.15, `keras.callbacks.CSVLogger`. Differs: rows for steps; columns keep the order in which they are logged.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CSVLogger {
    path: PathBuf,
    #[serde(default)]
    every: u64,
    #[serde(skip)]
    columns: Vec<String>,
    #[serde(skip)]
    file: Option<AppendFile>,
    #[serde(skip)]
    resumed: Option<Length>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    columns: Vec<String>,
    file: Option<Length>,
}

impl CSVLogger {
    /// A row after each epoch. The file's folder is created.
    pub fn epochs(path: impl Into<PathBuf>) -> Self {
        Self::steps(path, 0)
    }

    /// A row for each step whose number, from 0, is a multiple of `every`; 0 for epochs. Batches of one step have a row each.
    pub fn steps(path: impl Into<PathBuf>, every: u64) -> Self {
        Self { path: path.into(), every, columns: Vec::new(), file: None, resumed: None }
    }

    fn row(&mut self, epoch: u64, steps: u64, control: &Control) -> Result<(), Error> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut text = String::new();
        if self.columns.is_empty() {
            self.columns = control.logs().map(|(name, _)| name.to_owned()).collect();
            text += "epoch,steps";
            for name in &self.columns {
                text.push(',');
                text += &field(name);
            }
            text.push('\n');
        }
        write!(text, "{epoch},{steps}").expect("a string takes all");
        for name in &self.columns {
            text.push(',');
            if let Ok(value) = control.logged(name) {
                write!(text, "{value:?}").expect("a string takes all");
            }
        }
        text.push('\n');
        file.append(text.as_bytes())
    }
}

impl Callback for CSVLogger {
    fn name(&self) -> &str {
        "CSVLogger"
    }

    fn on_train_begin(&mut self, run: &RunInfo, _: &mut Control) -> Result<(), Error> {
        let resumed = self.resumed.take().filter(|_| run.resumed);
        if resumed.is_none() {
            self.columns.clear();
        }
        self.file = Some(AppendFile::open(&self.path, resumed)?);
        Ok(())
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, control: &mut Control) -> Result<(), Error> {
        match self.every > 0 && batch.report.step.is_multiple_of(self.every) {
            true => self.row(batch.epoch, batch.report.step + 1, control),
            false => Ok(()),
        }
    }

    fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        if self.every == 0 { self.row(epoch.epoch, epoch.step, control) } else { Ok(()) }
    }

    fn state(&mut self) -> Result<Option<Value>, Error> {
        let file = self.file.as_mut().map(AppendFile::sync).transpose()?;
        Ok(to_state(&State { columns: self.columns.clone(), file }))
    }

    fn load_state(&mut self, state: &Value) -> Result<(), Error> {
        let State { columns, file } = read_state(self.name(), state)?;
        (self.columns, self.resumed) = (columns, file);
        Ok(())
    }
}
