use std::sync::Arc;

use super::text::{BYTES, hyper_of};
use crate::Error;
use crate::gpu::{Binding, Gpu, Kernel, KernelSource, Region, uniform};
use crate::layout::Layout;
use crate::params::{Flat, GateValues, ParamStore};

uniform! {
    /// The range of a dispatch within a window, in vectors of four.
    pub(crate) struct BuffersCall {
        pub(crate) first: u32,
        pub(crate) len: u32,
    }
}

/// As in average_buffers.wgsl.
pub(crate) const LANES: usize = 64;

/// The averages of buffers. They have their own dispatch, because they are stored separately from the parameters.
#[derive(Debug)]
pub(crate) struct AveragedBuffers {
    pub(crate) flat: Arc<Flat>,
}

/// The kernel that updates them, and its bind groups.
#[derive(Debug)]
pub(crate) struct AveragedBuffersBindings {
    pub(crate) kernel: Arc<Kernel>,
    /// One per window.
    pub(crate) bind_groups: Vec<wgpu::BindGroup>,
}

impl AveragedBuffers {
    pub(crate) fn new(gpu: &Gpu, layout: &Arc<Layout>) -> Result<Self, Error> {
        Ok(Self { flat: Arc::new(Flat::zeroed(gpu, "averages of buffers", layout)?) })
    }

    /// Another handle of the same averages: added parameter groups bring no buffers.
    pub(crate) fn shared(&self) -> Self {
        Self { flat: self.flat.clone() }
    }

    /// `uniforms` holds a block of the step, `hyper` the rule's constants: `hyper_bytes` of a rule with the text
    /// `rule`.
    pub(crate) fn bind(
        &self,
        params: &ParamStore,
        (rule, hyper_bytes): (&str, usize),
        [uniforms, hyper]: [Region<'_>; 2],
    ) -> Result<AveragedBuffersBindings, Error> {
        let gpu = params.gpu();
        let kernel = gpu.kernel(&buffers_source(rule, hyper_bytes))?;
        let buffers = params.buffers().expect("averages of buffers are of a store that has some");
        let bind = |window| {
            let regions =
                [uniforms, hyper, params.gate().region(), buffers.window(&window), self.flat.window(&window)];
            gpu.bind_group(&kernel, &regions)
        };
        let bind_groups = buffers.layout().windows().map(bind).collect::<Result<_, _>>()?;
        Ok(AveragedBuffersBindings { kernel: kernel.clone(), bind_groups })
    }
}

/// The kernel for a rule with this text, whose own constants take `hyper_bytes`.
pub(crate) fn buffers_source(rule: &str, hyper_bytes: usize) -> KernelSource {
    let uniform = |bytes: usize| Binding::Uniform {
        bytes: u32::try_from(bytes).expect("uniform blocks are small"),
        dynamic: true,
    };
    let gate = include_str!("../../../shaders/shared/gate.wgsl");
    let own = include_str!("../../../shaders/optim/average_buffers.wgsl");
    KernelSource {
        name: "optim/average_buffers".into(),
        wgsl: format!("{}{gate}\n{own}", hyper_of(rule)).into(),
        bindings: vec![
            uniform(size_of::<BuffersCall>()),
            uniform(hyper_bytes + BYTES),
            uniform(size_of::<GateValues>()),
            Binding::Read,
            Binding::ReadWrite,
        ],
    }
}
