mod board;
mod screen;
mod trace;
mod view;

use std::fmt;
use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::time::Instant;

use super::{BatchEnd, Callback, Control, EpochEnd, Note, Progress, ProgressStyle, RunInfo, TrainEnd};
use crate::error::Error;
use crate::gpu::Gpu;
use board::{Board, Latest};
use screen::{Lines, Screen, Shared};

/// Shows a run on the whole terminal: curves of loss and metric, learning rate, samples per second, device memory, and what
/// callbacks have said, such as the diagnoses of a [`GradientMonitor`](super::GradientMonitor). Requires the feature
/// `dashboard`.
///
/// `q` closes it, and the run goes on with the lines of [`Progress`]. Ctrl-C closes it and stops the run before its next
/// step, as a callback does: what others do at the end of a run is done. It follows the size of the terminal. When it closes,
/// also by an error of the run, the terminal is as it was, and below stand the lines that [`Progress`] would have printed.
/// Where standard output or standard input is no terminal, there are only those lines.
///
/// It is drawn on a thread of its own, ten times a second, so that no step waits for a slow terminal. Times are shown and kept
/// nowhere.
///
/// ```
/// use gradus::train::callbacks::{Callbacks, Dashboard, GradientMonitor};
///
/// let callbacks = Callbacks::new().with(GradientMonitor::default()).with(Dashboard::new());
/// assert_eq!(callbacks.len(), 2);
/// ```
#[derive(Default)]
pub struct Dashboard {
    gpu: Option<Gpu>,
    shared: Arc<Shared>,
    screen: Option<Screen>,
    lines: Option<Progress>,
}

impl fmt::Debug for Dashboard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dashboard").field("gpu", &self.gpu.is_some()).finish_non_exhaustive()
    }
}

impl Dashboard {
    /// Without the bytes of a device.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Also shows the bytes of all buffers that live on this device.
    #[must_use]
    pub fn gpu(mut self, gpu: &Gpu) -> Self {
        self.gpu = Some(gpu.clone());
        self
    }

    /// The lines of [`Progress`], which wait while the dashboard is open.
    fn lines(&mut self) -> &mut Progress {
        let shared = &self.shared;
        self.lines.get_or_insert_with(|| Progress::to(ProgressStyle::Lines, Box::new(Lines(shared.clone()))))
    }

    /// Restores the terminal, if it is not restored yet.
    fn close(&mut self) {
        self.screen = None;
    }
}

impl Callback for Dashboard {
    fn name(&self) -> &str {
        "Dashboard"
    }

    fn on_train_begin(&mut self, run: &RunInfo, control: &mut Control) -> Result<(), Error> {
        self.close();
        self.shared = Arc::default();
        self.lines = None;
        self.lines().on_train_begin(run, control)?;
        self.shared.change(|board| *board = Board::new(run));
        if io::stdout().is_terminal() && io::stdin().is_terminal() {
            self.screen = Screen::open(&self.shared);
        }
        Ok(())
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, control: &mut Control) -> Result<(), Error> {
        let latest = Latest {
            step: batch.report.step + 1,
            epoch: batch.epoch,
            lr: batch.lrs.iter().copied().fold(0.0, f64::max),
            loss: batch.report.loss.into(),
            metric: batch.report.metrics.last().map(|metric| f64::from(*metric)),
            samples: batch.samples as u64,
            bytes: self.gpu.as_ref().map(|gpu| gpu.counters().live_bytes),
            at: Instant::now(),
        };
        self.shared.change(|board| board.step(&latest));
        if self.shared.is_interrupted() {
            control.stop("Ctrl-C");
        }
        self.lines().on_train_batch_end(batch, control)
    }

    fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        self.shared.change(|board| {
            let of = |name: &str| control.logged(&format!("val_{name}")).ok();
            let (loss, metric) = (of("loss"), of(board.metric()));
            board.epoch(epoch.step, loss, metric);
        });
        self.lines().on_epoch_end(epoch, control)
    }

    fn on_note(&mut self, note: &Note) -> Result<(), Error> {
        self.shared.change(|board| board.notes.push(format!("{}: {}", note.by, note.text)));
        self.lines().on_note(note)
    }

    fn on_train_end(&mut self, end: &TrainEnd<'_>, control: &mut Control) -> Result<(), Error> {
        self.close();
        self.lines().on_train_end(end, control)
    }
}
