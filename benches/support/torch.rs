//! torch on the same CPU, in the Python of the variable `PYTHON`, or `python3`.

use std::io::{BufRead, BufReader, Lines, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::thread::available_parallelism;

use anyhow::{Context, Result};

/// A script of `benches/support` with the number of cores; nothing, and a line, where Python lacks one of `modules`.
pub(crate) fn script(name: &str, modules: &str) -> Result<Option<Command>> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let has_modules = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if !has_modules.is_ok_and(|output| output.status.success()) {
        println!("no {modules} for {python}: torch's times are left out");
        return Ok(None);
    }
    let mut command = Command::new(python);
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/support").join(name));
    command.arg(available_parallelism()?.to_string());
    Ok(Some(command))
}

/// `torch_models.py`, which answers each line with a line.
pub(crate) struct Torch {
    child: Child,
    requests: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Torch {
    pub(crate) fn start() -> Result<Option<Self>> {
        let Some(mut command) = script("torch_models.py", "torch, safetensors")? else { return Ok(None) };
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let requests = child.stdin.take().context("torch: its input")?;
        let answers = BufReader::new(child.stdout.take().context("torch: its output")?).lines();
        Ok(Some(Self { child, requests, answers }))
    }

    /// Numbers for a request, which is written as JSON.
    fn ask(&mut self, request: &serde_json::Value) -> Result<Vec<f64>> {
        writeln!(self.requests, "{request}").context("torch")?;
        let answer = self.answers.next().context("torch ended")??;
        serde_json::from_str(&answer).with_context(|| format!("torch: {answer}"))
    }

    /// The losses of the first steps of a model with these weights on this batch.
    pub(crate) fn losses(&mut self, model: &str, files: [&Path; 2], steps: usize) -> Result<Vec<f64>> {
        let [weights, batch] = files;
        self.ask(&serde_json::json!({"model": model, "weights": weights, "batch": batch, "steps": steps}))
    }

    /// Seconds of so many steps more of that model with so many threads.
    pub(crate) fn time(&mut self, steps: usize, threads: usize) -> Result<f64> {
        self.ask(&serde_json::json!({"time": steps, "threads": threads}))?
            .first()
            .copied()
            .context("torch: no time")
    }
}

impl Drop for Torch {
    fn drop(&mut self) {
        // It has nothing to keep.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
