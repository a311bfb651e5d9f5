//! torch on the same device, with the Python in the variable `PYTHON`, or `python3`.

use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::Result;
use gradus::Gpu;

/// A script of `benches/support`, given the number of cores and the kind of device, `cpu` or `gpu`; `None`, with a
/// message, if Python lacks one of `modules`.
pub(crate) fn script(gpu: &Gpu, name: &str, modules: &str) -> Result<Option<Command>> {
    let python = std::env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    let has_modules = Command::new(&python).args(["-c", &format!("import {modules}")]).output();
    if !has_modules.is_ok_and(|output| output.status.success()) {
        println!("no {modules} for {python}: torch's times are left out");
        return Ok(None);
    }
    let mut command = Command::new(python);
    // Not the path at build time: see benches/device-check.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
    command.arg(Path::new(&here).join("benches/support").join(name));
    command.arg(available_parallelism()?.to_string());
    command.arg(if gpu.capabilities().is_cpu { "cpu" } else { "gpu" });
    Ok(Some(command))
}
