use std::fmt;
use std::io::{self, IsTerminal, Write};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{BatchEnd, Callback, Control, EpochEnd, Note, RunInfo, TrainEnd};
use crate::clock::Instant;
use crate::error::Error;

/// Shows how far a run is: a bar on a terminal, otherwise a line for each epoch.
///
/// Both show the means of loss and metrics over the epoch, the largest learning rate, and steps per second since the run
/// began or was resumed. Lines go to standard output, the bar to standard error. [Notes](Control::note) are printed
/// unless it is silent. Times are shown and kept nowhere.
///
/// ```
/// use gradus::train::callbacks::{Progress, ProgressStyle};
///
/// let quiet = Progress::new(ProgressStyle::Silent);
/// let log = Progress::to(ProgressStyle::Lines, Box::new(Vec::new()));
/// ```
pub struct Progress {
    style: ProgressStyle,
    output: Option<Box<dyn Write + Send + Sync>>,
    run: RunInfo,
    started: Instant,
    drawn: Option<Instant>,
    lr: f64,
}

/// How [`Progress`] is shown.
///
/// ```
/// use gradus::train::callbacks::ProgressStyle;
///
/// assert_eq!(ProgressStyle::default(), ProgressStyle::Auto);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProgressStyle {
    /// A bar if standard error is a terminal, otherwise lines.
    #[default]
    Auto,
    /// A bar that is drawn anew at most ten times a second.
    Bar,
    /// A line after each epoch.
    Lines,
    /// Nothing.
    Silent,
}

const WIDTH: u64 = 24;

/// Least time between two drawings of the bar.
const PAUSE: Duration = Duration::from_millis(100);

impl fmt::Debug for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Progress").field("style", &self.style).finish_non_exhaustive()
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new(ProgressStyle::Auto)
    }
}

impl Progress {
    /// On standard output and standard error.
    #[must_use]
    pub fn new(style: ProgressStyle) -> Self {
        Self { style, output: None, run: RunInfo::default(), started: Instant::now(), drawn: None, lr: 0.0 }
    }

    /// On `output`.
    #[must_use]
    pub fn to(style: ProgressStyle, output: Box<dyn Write + Send + Sync>) -> Self {
        let mut progress = Self::new(style);
        progress.output = Some(output);
        progress
    }

    /// Whether it draws a bar; `None` if it is silent.
    fn is_bar(&self) -> Option<bool> {
        match self.style {
            ProgressStyle::Auto => Some(self.output.is_none() && io::stderr().is_terminal()),
            ProgressStyle::Bar => Some(true),
            ProgressStyle::Lines => Some(false),
            ProgressStyle::Silent => None,
        }
    }

    fn print(&mut self, bar: bool, text: &str) -> Result<(), Error> {
        let (name, written) = match &mut self.output {
            Some(output) => ("progress", output.write_all(text.as_bytes()).and_then(|()| output.flush())),
            None if bar => ("standard error", io::stderr().lock().write_all(text.as_bytes())),
            None => ("standard output", io::stdout().lock().write_all(text.as_bytes())),
        };
        written.map_err(|error| Error::File { path: name.into(), reason: error.to_string() })
    }

    /// Means, the learning rate, and the speed since the start.
    fn line(&self, steps: u64, means: impl IntoIterator<Item = f64>) -> String {
        let seconds = self.started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        let speed = steps.saturating_sub(self.run.step) as f64 / seconds;
        let each = |(name, mean): (&String, f64)| format!("{name} {mean:.4}  ");
        let means: String = self.run.metrics.iter().zip(means).map(each).collect();
        format!("{means}lr {:.2e}  {speed:.0} steps/s", self.lr)
    }

    fn draw(&mut self, steps: u64, line: &str) -> Result<(), Error> {
        let all = self.run.epochs.saturating_mul(self.run.steps_per_epoch).max(1);
        let taken = steps.saturating_sub(self.run.first_step).min(all);
        let filled = usize::try_from(u128::from(taken) * u128::from(WIDTH) / u128::from(all)).unwrap_or(0);
        let bar = format!("{:░<width$}", "█".repeat(filled), width = usize::try_from(WIDTH).unwrap_or(0));
        let elapsed = self.started.elapsed();
        let done = (steps.saturating_sub(self.run.step)).max(1);
        let left = elapsed.as_secs_f64() * ((all - taken) as f64 / done as f64);
        let (elapsed, left) = (clock(elapsed.as_secs_f64()), clock(left));
        // Without wrapping, so that a narrow terminal cuts the line rather than filling up.
        let text = format!("\r\x1b[?7l\x1b[2K{bar} {taken}/{all}  {line}  {elapsed}, {left} to go\x1b[?7h");
        self.drawn = Some(Instant::now());
        self.print(true, &text)
    }

    /// Removes the bar, so that something else can be printed.
    fn clear(&mut self) -> Result<(), Error> {
        if self.drawn.take().is_some() { self.print(true, "\r\x1b[2K") } else { Ok(()) }
    }
}

/// Removes the bar if the run ended with an error.
impl Drop for Progress {
    fn drop(&mut self) {
        let _ = self.clear();
    }
}

/// Seconds as hours, minutes and seconds.
pub(super) fn clock(seconds: f64) -> String {
    let seconds = Duration::try_from_secs_f64(seconds).map_or(u64::MAX, |time| time.as_secs());
    let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    if hours > 0 { format!("{hours}:{minutes:02}:{seconds:02}") } else { format!("{minutes}:{seconds:02}") }
}

impl Callback for Progress {
    fn name(&self) -> &str {
        "Progress"
    }

    fn on_train_begin(&mut self, run: &RunInfo, _: &mut Control) -> Result<(), Error> {
        (self.run, self.started, self.drawn) = (run.clone(), Instant::now(), None);
        Ok(())
    }

    fn on_train_batch_end(&mut self, batch: &BatchEnd<'_>, _: &mut Control) -> Result<(), Error> {
        self.lr = batch.lrs.iter().copied().fold(0.0, f64::max);
        if self.is_bar() == Some(true) && self.drawn.is_none_or(|drawn| drawn.elapsed() >= PAUSE) {
            let steps = batch.report.step + 1;
            let line = self.line(steps, batch.means.iter().copied());
            self.draw(steps, &line)?;
        }
        Ok(())
    }

    fn on_epoch_end(&mut self, epoch: &EpochEnd<'_>, control: &mut Control) -> Result<(), Error> {
        if self.is_bar() != Some(false) {
            return Ok(());
        }
        self.lr = epoch.lrs.iter().copied().fold(0.0, f64::max);
        let of = |set: &str, name: &str| control.logged(&format!("{set}_{name}"));
        let means = self.run.metrics.iter().map(|name| of("train", name).unwrap_or(f64::NAN));
        let line = self.line(epoch.step, means);
        let last = self.run.metrics.last().map_or("loss", |name| name);
        let held_out = of("val", last).map_or(String::new(), |value| format!("  val {last} {value:.4}"));
        let (number, of) = (epoch.epoch, self.run.epochs);
        self.print(false, &format!("epoch {number:>2}/{of}  {line}{held_out}\n"))
    }

    fn on_note(&mut self, note: &Note) -> Result<(), Error> {
        let Some(bar) = self.is_bar() else { return Ok(()) };
        self.clear()?;
        self.print(bar, &format!("{}: {}\n", note.by, note.text))
    }

    fn on_train_end(&mut self, end: &TrainEnd<'_>, _: &mut Control) -> Result<(), Error> {
        self.clear()?;
        match (end.stopped, self.is_bar()) {
            (Some(stopped), Some(bar)) => {
                let (by, reason, step) = (&stopped.by, &stopped.reason, end.step);
                self.print(bar, &format!("stopped after step {step} by {by}: {reason}\n"))
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::train::StepReport;

    #[derive(Clone, Default)]
    struct Printed(Arc<Mutex<Vec<u8>>>);

    impl Write for Printed {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_bar_fills_is_drawn_seldom_and_goes_away() {
        let printed = Printed::default();
        let mut progress = Progress::to(ProgressStyle::Bar, Box::new(printed.clone()));
        let taken = || String::from_utf8(std::mem::take(&mut *printed.0.lock().unwrap())).unwrap();
        let metrics = vec!["loss".to_owned()];
        let run = RunInfo {
            epochs: 2,
            steps_per_epoch: 6,
            first_step: 100,
            step: 100,
            metrics,
            ..RunInfo::default()
        };
        let mut control = Control::new();
        progress.on_train_begin(&run, &mut control).unwrap();
        let report = |step| StepReport { step, loss: 0.5, metrics: Vec::new() };
        let report = report(105);
        let batch = BatchEnd { means: &[0.25], lrs: &[1e-3, 1e-2], ..BatchEnd::of(&report) };
        progress.on_train_batch_end(&batch, &mut control).unwrap();
        let text = taken();
        assert!(
            text.contains(&("█".repeat(12) + &"░".repeat(12) + " 6/12  loss 0.2500  lr 1.00e-2  ")),
            "{text}"
        );
        progress.on_train_batch_end(&batch, &mut control).unwrap();
        assert_eq!(taken(), "", "it was just drawn");
        progress.on_note(&Note { by: "Somebody".into(), text: "says".into() }).unwrap();
        assert_eq!(taken(), "\r\x1b[2KSomebody: says\n");
        progress.on_train_batch_end(&batch, &mut control).unwrap();
        taken();
        drop(progress);
        assert_eq!(taken(), "\r\x1b[2K");
    }

    #[test]
    fn times_are_short() {
        assert_eq!(
            [0.4, 59.9, 60.0, 3599.0, 3600.0, 90061.0].map(clock),
            ["0:00", "0:59", "1:00", "59:59", "1:00:00", "25:01:01"]
        );
        assert!(clock(f64::INFINITY).len() > 5);
    }
}
