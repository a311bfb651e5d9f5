//! How far a comparison is: a line that is drawn anew on a terminal, and a line for each finished run.

use std::io::{IsTerminal, Write, stderr, stdout};
use std::time::Instant;

use anyhow::Result;

use super::contender::Contender;
use super::record::{Record, Times};
use super::tables::number;

pub(crate) struct Progress {
    /// Runs that are finished, and those that were before.
    finished: usize,
    before: usize,
    of: usize,
    epochs: u64,
    current: String,
    began: Instant,
    is_terminal: bool,
}

impl Progress {
    pub(crate) fn new(finished: usize, of: usize, epochs: u64) -> Self {
        Self {
            finished,
            before: finished,
            of,
            epochs,
            current: String::new(),
            began: Instant::now(),
            is_terminal: stderr().is_terminal(),
        }
    }

    /// Says where it goes on, if some runs are finished.
    pub(crate) fn begin(&self, folder: &str) -> Result<()> {
        if self.finished > 0 {
            writeln!(stdout(), "{} of {} runs are in {folder}", self.finished, self.of)?;
        }
        Ok(())
    }

    /// Begins a run.
    pub(crate) fn run(&mut self, contender: &Contender, seed: u64) {
        self.current = format!("{} seed {seed}", contender.label);
        self.epoch(0);
    }

    /// Shows the epochs of this run that are finished.
    pub(crate) fn epoch(&self, epoch: u64) {
        if self.is_terminal {
            let runs = (self.finished - self.before) as f64 + epoch as f64 / self.epochs as f64;
            let left = self.left(runs);
            let (number, of, current, epochs) = (self.finished + 1, self.of, &self.current, self.epochs);
            // A terminal that has gone away does not stop the comparison.
            let _ = write!(stderr(), "\r\x1b[2K[{number}/{of}] {current}, epoch {epoch}/{epochs}{left}");
        }
    }

    /// Prints the results of a run.
    pub(crate) fn finish(
        &mut self,
        contender: &Contender,
        seed: u64,
        (record, times): &(Record, Times),
    ) -> Result<()> {
        self.finished += 1;
        if self.is_terminal {
            let _ = write!(stderr(), "\r\x1b[2K");
        }
        let result = match (record.diverged, record.epochs.val_loss.last(), record.epochs.val_accuracy.last())
        {
            (None, Some(loss), Some(accuracy)) => {
                format!("val_loss {}  val_accuracy {}", number(*loss), number(*accuracy))
            }
            (step, ..) => format!("diverged in step {}", step.unwrap_or_default()),
        };
        let (number, of, label) = (self.finished, self.of, &contender.label);
        let (seconds, width) = (times.epochs.iter().sum::<f64>(), of.to_string().len());
        let left = self.left((self.finished - self.before) as f64);
        writeln!(stdout(), "[{number:>width$}/{of}] {label} seed {seed}: {result}  {seconds:.1} s{left}")?;
        Ok(())
    }

    /// The time that is left, after so many runs since the start of the program.
    fn left(&self, runs: f64) -> String {
        let left = (self.of - self.before) as f64 - runs;
        if runs <= 0.0 || left <= 0.0 {
            return String::new();
        }
        match self.began.elapsed().as_secs_f64() / runs * left {
            seconds if seconds < 90.0 => format!(", about {seconds:.0} s left"),
            seconds => format!(", about {:.0} min left", seconds / 60.0),
        }
    }
}
