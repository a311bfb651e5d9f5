//! Steps per second of the examples' models and of the reference network, compared with torch on the same device (if the
//! Python in the variable `PYTHON`, or `python3`, has torch and safetensors). With `--peers`, also compared with
//! Burn, candle and meganeura, which are built in `benches/peers`; then without gradient clipping, which Burn only
//! has per tensor.
//!
//! The models are the files of the examples. Each library receives the same initial weights and one batch as
//! safetensors; torch's modules in `support/torch_models.py` load the weights by name, strictly. All libraries then
//! train with AdamW on that batch, and the losses of the first steps must agree before times are taken. Timed are
//! consecutive steps, each with the upload of its batch, and a wait after the last. Rounds of all libraries
//! alternate, so that they see the same machine load. torch uses one thread or one per core, whichever is faster; for
//! small steps, or on busy cores, that is often one. The transformer has no dropout here, because random numbers
//! differ between libraries. `cargo bench --bench models -- lstm` runs the models whose names contain `lstm`.

#[path = "../examples/train_mlp/network.rs"]
mod mlp;
#[path = "../examples/train_cnn/model.rs"]
mod model;
#[path = "support/models.rs"]
mod models;
#[path = "support/ours.rs"]
mod ours;
#[path = "support/peer.rs"]
mod peer;
#[path = "support/peers.rs"]
mod peers;
#[path = "../examples/train_cnn/resnet.rs"]
mod resnet;
#[path = "../examples/train_rnn/network.rs"]
mod rnn;
#[path = "support/rounds.rs"]
mod rounds;
#[path = "support/torch.rs"]
mod torch;
#[path = "../examples/train_transformer/network.rs"]
mod transformer;

use std::path::Path;
use std::time::Instant;

use anyhow::{Result, ensure};
use gradus::{Gpu, GpuOptions};

use models::{MODELS, Model};
use ours::Ours;
use peers::Library;
use rounds::{ROUNDS, Rounds, median};

/// Number of steps whose losses are compared.
const FIRST: usize = 5;

/// Maximum relative difference of the losses of a step. Sums in single precision have different orders, and five
/// steps amplify the difference.
const TOLERANCE: f64 = 1e-4;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let with_peers = arguments.iter().any(|argument| argument == "--peers");
    // `cargo bench` adds `--bench`.
    let wanted = arguments.into_iter().find(|argument| !argument.starts_with("--")).unwrap_or_default();
    let gpu = Gpu::new(GpuOptions::default())?;
    println!("{} ({:?}, {})", gpu.info().name, gpu.info().backend, gpu.info().driver_info);
    let mut libraries: Vec<Library> = peers::torch(&gpu)?.into_iter().collect();
    if with_peers {
        libraries.extend(peers::programs()?);
    }
    let folder = std::env::temp_dir().join(format!("gradus-models-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let done = MODELS
        .iter()
        .filter(|model| model.name.contains(&wanted))
        .try_for_each(|model| compare(&gpu, model, model.clips && !with_peers, &mut libraries, &folder));
    std::fs::remove_dir_all(&folder)?;
    done
}

/// Prints the first losses and the rate of a model here, and the rates of the libraries that train it too.
fn compare(gpu: &Gpu, model: &Model, clips: bool, libraries: &mut [Library], folder: &Path) -> Result<()> {
    println!("{}", model.title());
    let mut ours = Ours::new(gpu, model, clips)?;
    let (weights, batch) = (folder.join("weights.safetensors"), folder.join("batch.safetensors"));
    ours.weights.write(&weights)?;
    ours.batch.weights()?.write(&batch)?;
    let losses = ours.first_losses(FIRST)?;
    println!("  losses {losses:.6?}");
    let mut others = Vec::new();
    for library in libraries.iter_mut().filter(|library| library.trains(model.name)) {
        let start = Instant::now();
        let theirs = library.peer.losses(model.name, clips, [&weights, &batch], FIRST)?;
        let seconds = start.elapsed().as_secs_f64();
        println!("  {:<6} {theirs:.6?}, first {FIRST} steps in {seconds:.1} s", library.peer.name);
        let apart = losses.iter().zip(&theirs).map(|(ours, theirs)| (ours - theirs).abs() / theirs.abs());
        let apart = apart.fold(0.0, f64::max);
        if losses.len() == theirs.len() && apart <= TOLERANCE {
            others.push((library, Vec::new()));
            continue;
        }
        let differ = format!("its losses are {apart:.1e} apart from ours, not within {TOLERANCE:e}");
        ensure!(!library.must_agree, "{}, {}: {differ}", model.name, library.peer.name);
        println!("  {}: {differ}: its time does not count", library.peer.name);
    }
    let mut rounds = Rounds::default();
    for _ in 0..ROUNDS {
        rounds.one(|steps| ours.time(steps))?;
        for (library, times) in &mut others {
            times.resize_with(library.threads.len(), Rounds::default);
            for (threads, rounds) in library.threads.iter().zip(times) {
                rounds.one(|steps| library.peer.time(steps, *threads))?;
            }
        }
    }
    println!("  {:.1} steps/s, {}", 1.0 / median(&rounds.times), ours.counters);
    for (library, times) in &others {
        let best = library
            .threads
            .iter()
            .zip(times)
            .map(|(threads, theirs)| (median(&theirs.times), *threads, theirs));
        let Some((time, threads, theirs)) = best.min_by(|a, b| a.0.total_cmp(&b.0)) else { continue };
        let ratios: Vec<f64> =
            rounds.times.iter().zip(&theirs.times).map(|(ours, theirs)| theirs / ours).collect();
        let threads =
            if library.threads.len() > 1 { format!(" (threads: {threads})") } else { String::new() };
        println!(
            "  {}: {:.1} steps/s{threads}; ours are {:.2} of it",
            library.peer.name,
            1.0 / time,
            median(&ratios)
        );
    }
    Ok(())
}
