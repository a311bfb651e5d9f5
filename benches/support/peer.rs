//! Another library in a separate process, which answers each line with a line.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use anyhow::{Context, Result};

pub(crate) struct Peer {
    pub(crate) name: &'static str,
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Peer {
    pub(crate) fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().context(name)?;
        let requests = child.stdin.take().context("its input")?;
        let answers = BufReader::new(child.stdout.take().context("its output")?).lines();
        Ok(Self { name, child, requests, answers })
    }

    /// Sends a request as JSON, and returns the numbers of the answer.
    fn ask(&mut self, request: &serde_json::Value) -> Result<Vec<f64>> {
        let name = self.name;
        writeln!(self.requests, "{request}").context(name)?;
        let answer = self.answers.next().with_context(|| format!("{name} ended"))??;
        serde_json::from_str(&answer).with_context(|| format!("{name}: {answer}"))
    }

    /// The losses of the first steps of a model with the weights and batch in these files; optionally with gradients
    /// clipped to a norm of 1.
    pub(crate) fn losses(
        &mut self,
        model: &str,
        clips: bool,
        [weights, batch]: [&Path; 2],
        steps: usize,
    ) -> Result<Vec<f64>> {
        self.ask(&serde_json::json!(
            {"model": model, "clips": clips, "weights": weights, "batch": batch, "steps": steps}
        ))
    }

    /// Seconds of `steps` more steps of that model, with `threads` threads if the library has its own.
    pub(crate) fn time(&mut self, steps: usize, threads: usize) -> Result<f64> {
        let seconds = self.ask(&serde_json::json!({"time": steps, "threads": threads}))?;
        seconds.first().copied().with_context(|| format!("{}: no time", self.name))
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It has no state to save.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
