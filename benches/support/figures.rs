//! What a script in torch measured.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use gradus::Gpu;

use crate::torch::script;

/// The figures that a script prints by name, a line each; none if torch is not installed.
pub(crate) fn figures(gpu: &Gpu, name: &str) -> Result<HashMap<String, f64>> {
    let Some(mut command) = script(gpu, name, "torch")? else { return Ok(HashMap::new()) };
    let output = command.output()?;
    ensure!(output.status.success(), "torch: {}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout)?;
    let figures = lines.lines().map(|line| {
        let (name, figure) = line.split_once(": ").with_context(|| format!("torch: {line}"))?;
        Ok((name.to_owned(), figure.parse()?))
    });
    figures.collect()
}
