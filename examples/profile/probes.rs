//! The maximum rates of a device: of a kernel that only copies, and of one that only multiplies and adds.

use anyhow::Result;
use gradus::Gpu;
use gradus::gpu::{Binding, Buffer, KernelSource, Recorder, grid};

use crate::measure::{CopyKernel, each};

pub(crate) struct Probes {
    /// GB/s, read and written.
    pub(crate) copy: f64,
    /// GFLOP/s.
    pub(crate) arithmetic: f64,
}

/// Elements that are copied: more than caches hold.
const COPIED: usize = 16 << 20;

impl Probes {
    pub(crate) fn measure(gpu: &Gpu) -> Result<Self> {
        let copy = CopyKernel::new(gpu, COPIED)?;
        let milliseconds = copy.time(gpu)?;
        Ok(Self { copy: copy.bytes as f64 / milliseconds / 1e6, arithmetic: arithmetic(gpu)? })
    }
}

const ROUNDS: usize = 1024;
const CHAINS: usize = 8;
const WORKGROUPS: usize = 1024;

/// Chains that do not wait for each other, each of four lanes.
fn arithmetic(gpu: &Gpu) -> Result<f64> {
    let lines = |line: &dyn Fn(usize) -> String| (0..CHAINS).map(line).collect::<String>();
    let begin = lines(&|n| format!("var s{n} = x[0] + f32({n});\n"));
    let step = lines(&|n| format!("s{n} = fma(s{n}, a, b);\n"));
    let end = (0..CHAINS).map(|n| format!("s{n}")).collect::<Vec<_>>().join(" + ");
    let wgsl = format!(
        "@group(0) @binding(0) var<storage, read> x: array<vec4f>;
        @group(0) @binding(1) var<storage, read_write> y: array<vec4f>;
        @compute @workgroup_size(64)
        fn main(@builtin(global_invocation_id) id: vec3u) {{
            let a = x[1];
            let b = x[2];
            {begin}
            for (var i = 0u; i < {ROUNDS}u; i++) {{
                {step}
            }}
            y[id.x] = {end};
        }}"
    );
    let (name, bindings) = ("arithmetic probe".into(), vec![Binding::Read, Binding::ReadWrite]);
    let kernel = gpu.kernel(&KernelSource { name, wgsl: wgsl.into(), bindings })?;
    let x = Buffer::<f32>::storage(gpu, "factors", 12)?;
    x.write(gpu, 0, &[0.5; 12])?;
    let y = Buffer::<f32>::storage(gpu, "results", 4 * 64 * WORKGROUPS)?;
    let group = gpu.bind_group(&kernel, &[x.region(), y.region()])?;
    let milliseconds = each(gpu, |times| {
        let mut encoder = gpu.encoder("arithmetic probe");
        let mut recorder = Recorder::new(gpu, &mut encoder);
        (0..times).for_each(|_| recorder.dispatch(&kernel, &group, &[], grid(WORKGROUPS)));
        drop(recorder);
        gpu.submit(encoder)?;
        Ok(gpu.wait()?)
    })?;
    let flops = 2 * 4 * CHAINS * ROUNDS * 64 * WORKGROUPS;
    Ok(flops as f64 / milliseconds / 1e6)
}
