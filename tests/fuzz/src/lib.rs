//! What all targets share: a device that computes nothing, a file of the bytes, and a bound on memory.

use std::path::PathBuf;

use gradus::graph::Graph;
use gradus::optim::AdamW;
use gradus::train::Trainer;
use gradus::{Gpu, GpuOptions, ParamStore};
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What reading may take beside a multiple of the file: buffers of readers, messages.
const SLACK: usize = 1 << 20;

/// Runs `read`, which may take so many times the memory of what it reads.
///
/// # Panics
/// If it takes more.
pub fn bounded<T>(bytes: usize, times: usize, read: impl FnOnce() -> T) -> T {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let done = read();
    let taken = MEMORY.peak_usage().saturating_sub(before);
    assert!(
        taken <= times * bytes + SLACK,
        "{taken} bytes of memory for {bytes} bytes, of which {times} times may be taken"
    );
    done
}

/// A file of these bytes, in memory where the system has such files.
pub fn file(ending: &str, bytes: &[u8]) -> PathBuf {
    let shared = PathBuf::from("/dev/shm");
    let folder = if shared.is_dir() { shared } else { std::env::temp_dir() };
    let path = folder.join(format!("gradus-fuzz-{}{ending}", std::process::id()));
    std::fs::write(&path, bytes).expect("a file for the bytes");
    path
}

/// A device that checks and computes nothing.
pub fn gpu() -> Gpu {
    let limits = wgpu::Limits::default();
    let options = GpuOptions {
        backends: Some(wgpu::Backends::NOOP),
        max_binding_bytes: Some(limits.max_storage_buffer_binding_size),
        max_buffer_bytes: Some(limits.max_buffer_size),
        ..Default::default()
    };
    Gpu::new(options).expect("wgpu's device without a driver")
}

/// A matrix and a vector.
pub fn params(gpu: &Gpu) -> ParamStore {
    let builder = ParamStore::builder().tensor("w", [2, 3], &[0.5; 6]).tensor("b", [3], &[0.25; 3]);
    builder.build(gpu).expect("two small tensors")
}

/// A trainer of a small network, as of the checkpoints among the seeds.
pub fn trainer(gpu: &Gpu) -> Trainer<AdamW> {
    let graph = Graph::new();
    let (x, y) = (graph.input("x", [2, 3]), graph.labels("y", 2));
    let loss = x.linear(4).relu().linear(3).cross_entropy(&y);
    graph.trainer(&loss, AdamW::default()).build(gpu).expect("a small network")
}
