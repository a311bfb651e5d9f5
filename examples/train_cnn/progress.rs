//! A bar on a terminal, a line for each epoch elsewhere.

use std::fmt::Display;
use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::run::Means;

/// Prints a line; an error where `println!` would panic, as when the reader of a pipe has gone.
pub(crate) fn say(line: impl Display) -> Result<()> {
    writeln!(std::io::stdout(), "{line}").context("standard output")
}

pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    first: u64,
}

impl Progress {
    pub(crate) fn new(first: u64, steps: u64) -> Self {
        let terminal = std::io::stderr().is_terminal();
        let target = if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(steps), target);
        let style = "{bar:24} {pos}/{len}  {msg}  {elapsed} of {duration}";
        bar.set_style(ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, started: Instant::now(), first }
    }

    pub(crate) fn step(&self, steps: u64, so_far: &Means, rate: f64) {
        self.bar.set_position(steps);
        self.bar.set_message(self.line(steps, so_far, rate));
    }

    /// Means over the epoch so far, the rate, and the speed since the start.
    fn line(&self, steps: u64, so_far: &Means, rate: f64) -> String {
        let seconds = self.started.elapsed().max(Duration::from_millis(1)).as_secs_f64();
        let speed = (steps - self.first) as f64 / seconds;
        let (loss, accuracy) = (so_far.loss(), so_far.accuracy());
        format!("loss {loss:.4}  accuracy {accuracy:.4}  lr {rate:.2e}  {speed:.0} steps/s")
    }

    pub(crate) fn epoch(
        &self,
        epoch: usize,
        of: usize,
        steps: u64,
        means: &Means,
        rate: f64,
        held_out: f64,
    ) -> Result<()> {
        if self.bar.is_hidden() {
            let line = self.line(steps, means, rate);
            say(format_args!("epoch {epoch:>2}/{of}  {line}  test accuracy {held_out:.4}"))?;
        }
        Ok(())
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
