mod event;
mod histogram;
mod record;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::append::{AppendFile, Length};
use super::{BatchEnd, Callback, Control, EpochEnd, Reads, RunInfo, read_state, to_state};
use crate::clock::{SystemTime, UNIX_EPOCH};
use crate::error::Error;
use event::Event;
use histogram::Histogram;

/// Writes an event file for TensorBoard: all values that are logged, and histograms of weights and gradients.
///
/// | tag | what it is |
/// |---|---|
/// | `batch/<name>` | a logged value of a step, such as `batch/loss` |
/// | `epoch/<name>` | a logged value of an epoch, such as `epoch/val_loss` |
/// | `weights/<tensor>` | histogram of a parameter or buffer |
/// | `gradients/<tensor>` | histogram of a parameter's gradient in the last step of the epoch |
///
/// All are at the number of steps taken. Scalars are f32, as the format has them. Numbers that are not finite are in no
/// bucket of a histogram. Times are those of the format's start, 1970, plus a second for each step, unless
/// [`wall_time`](Self::wall_time) is set: so equal runs write equal files. The file is
/// `<folder>/events.out.tfevents.gradus`; a new run replaces it, a resumed one first cuts off what came after its
/// checkpoint.
///
/// Source: TensorFlow's `event.proto`, `summary.proto` and `record_writer.cc` (TFRecord: length, masked CRC-32C of the length,
/// data, masked CRC-32C of the data); the buckets of histograms are those of `tensorflow/core/lib/histogram`.
///
/// ```
/// use gradus::train::callbacks::TensorBoard;
///
/// let events = TensorBoard::new("runs/first").every(10);
/// assert!(events.path().ends_with("events.out.tfevents.gradus"));
/// ```
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TensorBoard {
    folder: PathBuf,
    #[serde(default = "one")]
    every: u64,
    #[serde(default = "one")]
    histograms: u64,
    #[serde(default)]
    wall_time: bool,
    #[serde(skip)]
    file: Option<AppendFile>,
    #[serde(skip)]
    resumed: Option<Length>,
}

fn one() -> u64 {
    1
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct State {
    file: Option<Length>,
}

impl TensorBoard {
    /// Into `folder`, which is created, with the defaults.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), every: 1, histograms: 1, wall_time: false, file: None, resumed: None }
    }

    /// Steps between scalars of steps, 0 for none. Default 1.
    #[must_use]
    pub fn every(mut self, steps: u64) -> Self {
        self.every = steps;
        self
    }

    /// Epochs between histograms, 0 for none. Each reads all parameters and gradients at an epoch's end. Default 1.
    #[must_use]
    pub fn histograms(mut self, epochs: u64) -> Self {
        self.histograms = epochs;
        self
    }

    /// Gives events the time of day. Default: they have none.
    #[must_use]
    pub fn wall_time(mut self) -> Self {
        self.wall_time = true;
        self
    }

    /// The event file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.folder.join("events.out.tfevents.gradus")
    }

    fn event(&self, steps: u64) -> Event {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |time| time.as_secs_f64());
        Event::at(steps, if self.wall_time { now() } else { steps as f64 })
    }

    fn write(&mut self, event: Event) -> Result<(), Error> {
        match (&mut self.file, event.is_empty()) {
            (Some(file), false) => file.append(&record::framed(&event.into_bytes())),
            _ => Ok(()),
        }
    }

    fn scalars(&mut self, set: &str, steps: u64, control: &Control) -> Result<(), Error> {
        let mut event = self.event(steps);
        for (name, value) in control.logs() {
            event.scalar(&format!("{set}/{name}"), value);
        }
        self.write(event)
    }
}

impl Callback for TensorBoard {
    fn name(&self) -> &str {
        "TensorBoard"
    }

    fn on_train_begin(&mut self, run: &RunInfo, _: &mut Control) -> Result<(), Error> {
        let resumed = self.resumed.take().filter(|_| run.resumed);
        let begins = resumed.is_none();
        self.file = Some(AppendFile::open(&self.path(), resumed)?);
        if begins {
            let mut event = self.event(run.first_step);
            event.file_version();
            self.write(event)?;
        }
        Ok(())
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, control: &mut Control) -> Result<(), Error> {
        match self.every > 0 && batch.report.step.is_multiple_of(self.every) {
            true => self.scalars("batch", batch.report.step + 1, control),
            false => Ok(()),
        }
    }

    fn reads(&self, epoch: u64, _: &Control) -> Result<Reads, Error> {
        let due = self.histograms > 0 && epoch.is_multiple_of(self.histograms);
        Ok(Reads { weights: due, gradients: due })
    }

    fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        self.scalars("epoch", epoch.step, control)?;
        if self.histograms == 0 || !epoch.epoch.is_multiple_of(self.histograms) {
            return Ok(());
        }
        for (set, tensors) in [("weights", epoch.weights), ("gradients", epoch.gradients)] {
            for (name, values) in tensors.into_iter().flatten() {
                let mut event = self.event(epoch.step);
                event.histogram(&format!("{set}/{name}"), &Histogram::of(values));
                self.write(event)?;
            }
        }
        Ok(())
    }

    fn state(&mut self) -> Result<Option<Value>, Error> {
        let file = self.file.as_mut().map(AppendFile::sync).transpose()?;
        Ok(to_state(&State { file }))
    }

    fn load_state(&mut self, state: &Value) -> Result<(), Error> {
        self.resumed = read_state::<State>(self.name(), state)?.file;
        Ok(())
    }
}
