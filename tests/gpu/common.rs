//! A device, or a reason to skip; and numbers to compute on.

use gradus::optim::{AnyRule, Entry, Family, Optimizer};
use gradus::{Gpu, GpuOptions, ParamStore};
use serde_json::{Value, json};

use crate::{adapters, kernels};

/// A device; `None`, visibly, where there is none and `GRADUS_ALLOW_NO_GPU` is set.
pub(crate) fn gpu() -> Option<Gpu> {
    gpu_with(GpuOptions::default())
}

pub(crate) fn gpu_with(options: GpuOptions) -> Option<Gpu> {
    noted(Gpu::new(kernels::asked(options)).map(|gpu| vec![gpu])).pop()
}

/// A device for each kind of kernels that the adapter runs: where that is one, there is nothing to compare, and the
/// test is counted as such.
pub(crate) fn gpus_with(options: &GpuOptions) -> Vec<Gpu> {
    let gpus = noted(Gpu::of_each_kind(options));
    if gpus.len() == 1 {
        adapters::note_one_kind();
    }
    gpus
}

/// Notes that this test got devices; or, visibly, that there is none, where that is allowed.
fn noted(gpus: Result<Vec<Gpu>, gradus::Error>) -> Vec<Gpu> {
    match gpus {
        Ok(gpus) => {
            gpus.iter().for_each(adapters::note_ran);
            gpus
        }
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            eprintln!("SKIPPED: {error}");
            adapters::note_skipped();
            Vec::new()
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips these tests"),
    }
}

/// A number in [-1, 1) that depends on its arguments alone and is exact in f32.
pub(crate) fn noise(stream: u64, index: usize) -> f32 {
    let mut x = (stream << 32 | index as u64).wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    ((x >> 44) as f32) / (1 << 19) as f32 - 1.0
}

pub(crate) fn noises(stream: u64, len: usize) -> Vec<f32> {
    (0..len).map(|index| noise(stream, index)).collect()
}

/// Gradients of many magnitudes, some of them zero.
pub(crate) fn gradients(step: usize, len: usize) -> Vec<f32> {
    let scale = |i: usize| [1.0, 1e-3, 10.0, 0.1, 0.0, 1e-6][i % 6];
    (0..len)
        .map(|i| if (i + step).is_multiple_of(11) { 0.0 } else { noise(step as u64, i) * scale(i) })
        .collect()
}

/// Steps with [`gradients`], from `first` on.
pub(crate) fn run<R: AnyRule + Clone>(
    optimizer: &mut Optimizer<R>,
    params: &mut ParamStore,
    steps: std::ops::Range<usize>,
) {
    let len = params.layout().parameters();
    for step in steps {
        params.write_grads(&gradients(step, len)).unwrap();
        optimizer.step(params).unwrap();
    }
}

pub(crate) fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|value| value.to_bits()).collect()
}

/// A rule with its defaults, and with what it needs to take tensors of any shape.
pub(crate) fn default_of(entry: &Entry) -> Value {
    let mut json = entry.default_rule().to_json();
    if entry.family == Family::Matrix {
        json["adamw"] = json!({});
    }
    json
}

/// Lengths around a vector, a workgroup and an alignment.
pub(crate) const LENS: [usize; 7] = [1, 3, 4, 64, 255, 256, 1025];

/// A store of tensors of these lengths.
pub(crate) fn store(gpu: &Gpu) -> ParamStore {
    let data: Vec<Vec<f32>> = (10..).zip(LENS).map(|(stream, len)| noises(stream, len)).collect();
    let mut builder = ParamStore::builder();
    for (index, data) in data.iter().enumerate() {
        builder = builder.tensor(format!("t{index}"), [data.len()], data);
    }
    builder.build(gpu).unwrap()
}

/// All parameters, without padding.
pub(crate) fn read_all(params: &ParamStore) -> Vec<f32> {
    params.layout().spans().iter().flat_map(|span| params.read(&span.name).unwrap()).collect()
}

/// All that lies between tensors, with zeros in their place.
pub(crate) fn padding(params: &ParamStore) -> Vec<f32> {
    let mut all = params.params().read_all(params.gpu()).unwrap();
    for span in params.layout().spans() {
        all[span.first..span.first + span.len].fill(0.0);
    }
    all
}
