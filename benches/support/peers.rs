//! Other libraries, each a program in `benches/peers` or a script beside this file.

use std::path::Path;
use std::process::Command;
use std::thread::available_parallelism;

use anyhow::Result;
use gradus::Gpu;

use crate::peer::Peer;
use crate::torch::script;

/// A library that trains some of the models.
pub(crate) struct Library {
    pub(crate) peer: Peer,
    /// The models that it trains.
    models: &'static [&'static str],
    /// Numbers of threads to time it with; the best counts. A GPU's driver has its own threads.
    pub(crate) threads: Vec<usize>,
    /// Whether losses that differ from ours are an error.
    pub(crate) must_agree: bool,
}

impl Library {
    pub(crate) fn trains(&self, model: &str) -> bool {
        self.models.contains(&model)
    }
}

const ALL: &[&str] = &[
    "reference-cnn",
    "reference-cnn-16",
    "cnn",
    "wide-cnn",
    "resnet",
    "mlp",
    "rnn",
    "lstm",
    "gru",
    "transformer",
];

/// torch, if it is installed.
pub(crate) fn torch(gpu: &Gpu) -> Result<Option<Library>> {
    let Some(command) = script(gpu, "torch_models.py", "torch, safetensors")? else { return Ok(None) };
    let cores = available_parallelism()?.get();
    let threads = if cores > 1 && gpu.capabilities().is_cpu { vec![1, cores] } else { vec![1] };
    Ok(Some(Library { peer: Peer::start("torch", command)?, models: ALL, threads, must_agree: true }))
}

/// Programs of `benches/peers`, and the models that each trains.
const PROGRAMS: [(&str, &[&str]); 3] = [
    ("burn", &["reference-cnn", "mlp", "resnet", "lstm", "transformer"]),
    ("candle", &["reference-cnn", "mlp"]),
    ("meganeura", &["reference-cnn", "mlp"]),
];

/// The programs that can be built here, with a message for each other one. Building takes minutes the first time.
pub(crate) fn programs() -> Result<Vec<Library>> {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let target = here.join("target/peers");
    let mut libraries = Vec::new();
    for (name, models) in PROGRAMS {
        println!("building {name}");
        let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
        let manifest = here.join("benches/peers").join(name).join("Cargo.toml");
        let built = Command::new(cargo)
            .args(["build", "--quiet", "--release", "--manifest-path"])
            .arg(manifest)
            .arg("--target-dir")
            .arg(&target)
            .status()?;
        if !built.success() {
            println!("{name} does not build here: its times are left out");
            continue;
        }
        let program = Command::new(target.join("release").join(format!("{name}_peer")));
        let peer = Peer::start(name, program)?;
        libraries.push(Library { peer, models, threads: vec![1], must_agree: false });
    }
    Ok(libraries)
}
