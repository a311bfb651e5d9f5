use std::sync::Arc;

use crate::Error;
use crate::gpu::{
    Binding, Block, Buffer, Gpu, Kernel, KernelListing, KernelSource, Region, Uniform, uniform,
};
use crate::params::GateValues;

/// Workgroup size of the kernels that add.
pub(super) const ADDING: usize = 64;

const LARGER: &str = include_str!("../../../shaders/optim/whole/larger.wgsl");

uniform! {
    /// The range of a dispatch, in vectors of four.
    pub(super) struct Call {
        /// First vector within the window.
        pub(super) first: u32,
        pub(super) len: u32,
        /// Number of lanes that share the inner products.
        pub(super) lanes: u32,
        /// Offset of their partial sums.
        pub(super) out: u32,
        /// Number of lanes in all dispatches.
        pub(super) total: u32,
        /// Distance from one stored pair to the next.
        pub(super) stride: u32,
    }
}

uniform! {
    /// The range of a dispatch that adds partial sums.
    pub(super) struct Sum {
        pub(super) len: u32,
        /// Number of sums that remain.
        pub(super) left: u32,
        /// First product of which the maximum is taken, not the sum.
        pub(super) maxima: u32,
    }
}

uniform! {
    /// Values that change with each new direction.
    pub(super) struct Turn {
        pub(super) t_before: f32,
        pub(super) t: f32,
        /// Index of the last step's pair.
        pub(super) pair: u32,
    }
}

uniform! {
    /// The range of a dispatch that transforms gradients, in vectors of four, and its constants.
    pub(super) struct TransformCall {
        /// First vector within the window.
        pub(super) first: u32,
        pub(super) len: u32,
        /// Number of lanes that share the sum of the penalties.
        pub(super) lanes: u32,
        /// Offset of their partial sums.
        pub(super) out: u32,
        /// Largest magnitude of a gradient after clipping.
        pub(super) clip_value: f32,
        /// Factor of the parameter's sign in the penalty's gradient.
        pub(super) l1: f32,
        /// Factor of the parameter in the penalty's gradient.
        pub(super) l2: f32,
    }
}

fn uniform_of<U: Uniform>(dynamic: bool) -> Binding {
    Binding::Uniform { bytes: u32::try_from(size_of::<U>()).expect("uniform blocks are small"), dynamic }
}

fn listing(stem: &str, wgsl: String, bindings: Vec<Binding>, blocks: Vec<Block>) -> KernelListing {
    let source = KernelSource { name: format!("optim/whole/{stem}"), wgsl: wgsl.into(), bindings };
    KernelListing { source, blocks }
}

fn call() -> Block {
    Block::of::<Call>("Call")
}

fn turn() -> Block {
    Block::of::<Turn>("Turn")
}

fn measure() -> KernelListing {
    use Binding::{Read, ReadWrite};
    let wgsl = format!("{}{LARGER}", include_str!("../../../shaders/optim/whole/measure.wgsl"));
    listing("measure", wgsl, vec![uniform_of::<Call>(true), Read, Read, Read, ReadWrite], vec![call()])
}

fn history() -> KernelListing {
    use Binding::{Read, ReadWrite};
    let wgsl = include_str!("../../../shaders/optim/whole/history.wgsl").to_owned();
    let bindings = vec![uniform_of::<Call>(true), Read, Read, Read, Read, Read, ReadWrite];
    listing("history", wgsl, bindings, vec![call()])
}

fn sums() -> KernelListing {
    let wgsl = format!("{}{LARGER}", include_str!("../../../shaders/optim/whole/sums.wgsl"));
    let bindings = vec![uniform_of::<Sum>(true), Binding::Read, Binding::ReadWrite];
    listing("sums", wgsl, bindings, vec![Block::of::<Sum>("Sum")])
}

fn combine() -> KernelListing {
    use Binding::{Read, ReadWrite};
    let wgsl = include_str!("../../../shaders/optim/whole/combine.wgsl").to_owned();
    let bindings = vec![uniform_of::<Call>(true), Read, Read, Read, Read, ReadWrite];
    listing("combine", wgsl, bindings, vec![call()])
}

fn axpy() -> KernelListing {
    use Binding::{Read, ReadWrite};
    let wgsl = include_str!("../../../shaders/optim/whole/axpy.wgsl").to_owned();
    let bindings = vec![uniform_of::<Turn>(false), uniform_of::<Call>(true), Read, Read, ReadWrite];
    listing("axpy", wgsl, bindings, vec![call(), turn()])
}

fn remember() -> KernelListing {
    use Binding::{Read, ReadWrite};
    let wgsl = include_str!("../../../shaders/optim/whole/remember.wgsl").to_owned();
    let uniforms = [uniform_of::<Turn>(false), uniform_of::<Call>(true)];
    let bindings = [&uniforms[..], &[Read, Read, Read, ReadWrite, ReadWrite]].concat();
    listing("remember", wgsl, bindings, vec![call(), turn()])
}

pub(super) fn transform() -> KernelListing {
    use Binding::{Read, ReadWrite};
    let bounds = include_str!("../../../shaders/grad/bounds.wgsl");
    let text = include_str!("../../../shaders/optim/whole/transform.wgsl");
    let wgsl = format!("{}{bounds}{text}", include_str!("../../../shaders/shared/gate.wgsl"));
    let uniforms = [uniform_of::<TransformCall>(true), uniform_of::<GateValues>(true)];
    let bindings = [&uniforms[..], &[Read, ReadWrite, ReadWrite]].concat();
    let blocks = vec![Block::of::<TransformCall>("Call"), Block::of::<GateValues>("Gate")];
    listing("transform", wgsl, bindings, blocks)
}

/// All kernels of L-BFGS.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    vec![measure(), history(), sums(), combine(), axpy(), remember(), transform()]
}

/// The kernels of one device.
#[derive(Debug)]
pub(super) struct Kernels {
    pub(super) measure: Arc<Kernel>,
    pub(super) history: Arc<Kernel>,
    pub(super) sums: Arc<Kernel>,
    pub(super) combine: Arc<Kernel>,
    pub(super) axpy: Arc<Kernel>,
    pub(super) remember: Arc<Kernel>,
}

impl Kernels {
    pub(super) fn new(gpu: &Gpu) -> Result<Self, Error> {
        let kernel = |listing: KernelListing| gpu.kernel(&listing.source);
        Ok(Self {
            measure: kernel(measure())?,
            history: kernel(history())?,
            sums: kernel(sums())?,
            combine: kernel(combine())?,
            axpy: kernel(axpy())?,
            remember: kernel(remember())?,
        })
    }

    /// The kernel that adds partial sums of one buffer to another, with the uniforms of the levels.
    pub(super) fn adding(
        &self,
        gpu: &Gpu,
        sums: &Buffer<u8>,
        from: &Buffer<f32>,
        to: &Buffer<f32>,
    ) -> Result<wgpu::BindGroup, Error> {
        gpu.bind_group(&self.sums, &[region::<Sum>(sums), from.region(), to.region()])
    }
}

/// The first uniform block; others are selected by dynamic offsets.
pub(super) fn region<T>(buffer: &Buffer<u8>) -> Region<'_> {
    Region { buffer: buffer.raw(), offset: 0, bytes: size_of::<T>() as u64 }
}
