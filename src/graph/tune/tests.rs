use super::{Trial, best, by_clock, by_timestamps};
use crate::gpu::{Binding, Buffer, Gpu, GpuOptions, KernelSource};

/// A device with timestamps if the adapter has them; none, visibly, where there is no adapter and that is allowed.
fn device() -> Option<Gpu> {
    match Gpu::new(GpuOptions { timestamps: true, ..GpuOptions::default() }) {
        Ok(gpu) => Some(gpu),
        Err(error) if std::env::var_os("GRADUS_ALLOW_NO_GPU").is_some() => {
            eprintln!("SKIPPED: {error}");
            None
        }
        Err(error) => panic!("{error}; GRADUS_ALLOW_NO_GPU=1 skips this test"),
    }
}

#[test]
fn kernels_are_timed_with_timestamps_and_without() {
    let Some(gpu) = device() else { return };
    let wgsl = "
        @group(0) @binding(0) var<storage, read_write> x: array<u32>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3u) {
            for (var i = 0u; i < TIMES; i += 1u) { x[id.x] = x[id.x] * 3u + i; }
        }";
    let buffer = Buffer::<u32>::storage(&gpu, "x", 1 << 14).unwrap();
    let trial = |times: u32| {
        let wgsl = format!("const TIMES: u32 = {times}u;{wgsl}").into();
        let bindings = vec![Binding::ReadWrite];
        let source = KernelSource { name: "timed".into(), wgsl, bindings };
        let kernel = gpu.kernel(&source).unwrap();
        let group = gpu.bind_group(&kernel, &[buffer.region()]).unwrap();
        Trial { kernel, group, grid: [1 << 8, 1, 1] }
    };
    let (long, short) = (trial(4_000), trial(4));
    let times = gpu.block_on(by_clock(&gpu, &[&long, &short])).unwrap();
    assert!(times[0] > 2.0 * times[1], "{times:?}");
    if gpu.has_timestamps() {
        let times = gpu.block_on(by_timestamps(&gpu, &[&long, &short])).unwrap();
        assert!(times[0] > 2.0 * times[1], "{times:?}");
    }
}

#[test]
fn another_kernel_must_be_worth_it() {
    let inf = f64::INFINITY;
    for (times, expected) in [
        (&[1.0][..], 0),
        (&[1.0, 0.98, 0.99], 0),
        (&[1.0, 0.98, 0.9, 0.95], 2),
        (&[inf, inf, 2.0], 2),
        (&[0.0, 0.0], 0),
        (&[1.0, inf, f64::NAN], 0),
    ] {
        assert_eq!(best(times), expected, "{times:?}");
    }
}
