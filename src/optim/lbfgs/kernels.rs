use std::sync::Arc;

use crate::Error;
use crate::gpu::{Binding, Block, Gpu, Kernel, KernelListing, KernelSource, Uniform, uniform};

const LARGER: &str = include_str!("../../../shaders/optim/whole/larger.wgsl");

uniform! {
    /// What a dispatch covers, in vectors of four.
    pub(super) struct Call {
        /// First vector within the window.
        pub(super) first: u32,
        pub(super) len: u32,
        /// Lanes that share the inner products.
        pub(super) lanes: u32,
        /// Where their partial sums lie.
        pub(super) out: u32,
        /// Lanes of all dispatches.
        pub(super) total: u32,
        /// From one remembered pair to the next.
        pub(super) stride: u32,
    }
}

uniform! {
    /// What adding partial sums covers.
    pub(super) struct Sum {
        pub(super) len: u32,
        /// Sums left.
        pub(super) left: u32,
        /// The first product of which the largest is wanted.
        pub(super) maxima: u32,
    }
}

uniform! {
    /// What changes from turn to turn.
    pub(super) struct Turn {
        pub(super) t_before: f32,
        pub(super) t: f32,
        /// Where the last step is kept.
        pub(super) pair: u32,
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

/// Every kernel of the family that knows inner products over all parameters.
pub(crate) fn kernel_listings() -> Vec<KernelListing> {
    vec![measure(), history(), sums(), combine(), axpy(), remember()]
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
}
