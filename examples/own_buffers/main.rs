//! Custom kernels around a plan, without read-back: as a data source, as a loss, and as a layer between two plans.
//! Each trains, and ends at the same parameters as the library alone.
//!
//! `cargo run --release --example own_buffers`

mod kernel;
mod layer;
mod loss;
mod source;

use gradus::{Error, Gpu, GpuOptions, ParamStore};

/// Samples per batch.
const BATCH: usize = 64;

fn main() -> Result<(), Error> {
    // Or `Gpu::from_wgpu`, with an existing device.
    let gpu = Gpu::new(GpuOptions::default())?;
    source::run(&gpu)?;
    loss::run(&gpu)?;
    layer::run(&gpu)
}

/// Points with two coordinates, and their product as the target; different at each step.
fn batch(step: u32) -> (Vec<f32>, Vec<f32>) {
    let coordinate = |n: u32| (n.wrapping_mul(2_654_435_761) >> 24) as f32 / 128.0 - 1.0;
    let x: Vec<f32> = (0..128).map(|i| coordinate(step * 128 + i)).collect();
    let y = x.chunks_exact(2).map(|point| point[0] * point[1]).collect();
    (x, y)
}

/// Refuses parameters that differ from those of the library alone by more than rounding.
fn compare(ours: &ParamStore, library: &ParamStore) -> Result<(), Error> {
    for span in ours.layout().spans() {
        for (ours, library) in ours.read(&span.name)?.iter().zip(library.read(&span.name)?) {
            assert!((ours - library).abs() <= 1e-4, "{}: {ours} is not {library}", span.name);
        }
    }
    Ok(())
}
