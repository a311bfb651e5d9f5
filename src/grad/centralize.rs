use std::sync::Arc;

use serde_json::{Value, json};

use super::Transform;
use crate::Error;
use crate::gpu::{
    Binding, Block, Buffer, Kernel, KernelListing, KernelSource, Recorder, Region, grid, uniform,
};
use crate::params::ParamStore;

/// Gradient centralisation: subtracts from the gradient of each output of a layer its mean over the inputs, so that the
/// means of the weights' rows do not change. Tensors of one dimension or none, such as biases, are left alone.
///
/// One dispatch for each tensor of two or more dimensions, which must fit one binding; two if a row has more than
/// 262,144 elements. It also serves as the example of a custom transform.
///
/// Source: Yong et al. 2020, arXiv:2004.01461.
///
/// ```
/// use gradus::grad::{Centralize, Transforms};
///
/// let transforms = Transforms { custom: vec![Box::new(Centralize::default())], ..Transforms::default() };
/// ```
#[derive(Debug, Default)]
pub struct Centralize {
    tensors: Vec<Tensor>,
}

/// The dispatches for one tensor.
#[derive(Debug)]
struct Tensor {
    name: String,
    stages: Vec<(Arc<Kernel>, wgpu::BindGroup, [u32; 3])>,
}

uniform! {
    struct Call { rows: u32, columns: u32, pieces: u32, piece: u32 }
}

/// The kernel's uniforms: how it traverses rows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Stage {
    Short,
    Whole,
    Sum,
    Take,
}

/// Invocations of a workgroup.
const LANES: usize = 256;
/// Longest row that one invocation processes, in elements.
const MOST_SHORT: usize = 256;
/// Longest piece of a row that one workgroup processes, in elements.
const PIECE: usize = 1024 * LANES;

/// The stages for a matrix, their workgroups, and the number of pieces in a row.
fn stages(rows: usize, columns: usize) -> (&'static [Stage], usize, usize) {
    let pieces = columns.div_ceil(PIECE);
    match pieces {
        _ if columns <= MOST_SHORT => (&[Stage::Short], rows.div_ceil(LANES), 1),
        0 | 1 => (&[Stage::Whole], rows, 1),
        _ => (&[Stage::Sum, Stage::Take], rows * pieces, pieces),
    }
}

fn source(stage: Stage) -> KernelSource {
    let bytes = u32::try_from(size_of::<Call>()).expect("uniform blocks are small");
    let (number, text) = (stage as u32, include_str!("../../shaders/grad/centralize.wgsl"));
    KernelSource {
        name: format!("grad/centralize[{number}]"),
        wgsl: format!("const STAGE = {number}u;\n{text}").into(),
        bindings: vec![Binding::Uniform { bytes, dynamic: false }, Binding::ReadWrite, Binding::ReadWrite],
    }
}

pub(super) fn kernel_listings() -> impl Iterator<Item = KernelListing> {
    let stages = [Stage::Short, Stage::Whole, Stage::Sum, Stage::Take];
    stages
        .into_iter()
        .map(|stage| KernelListing { source: source(stage), blocks: vec![Block::of::<Call>("Call")] })
}

/// The most iterations of one invocation.
#[cfg(test)]
pub(crate) fn most_trips(rows: usize, columns: usize) -> usize {
    let (stages, _, pieces) = stages(rows, columns);
    let sum = |elements: usize| elements + elements.div_ceil(16);
    let of_piece = columns.min(PIECE).div_ceil(LANES);
    let trips = |stage: &Stage| match stage {
        Stage::Short => sum(columns) + columns,
        Stage::Whole => sum(of_piece) + 8 + of_piece,
        Stage::Sum => sum(of_piece) + 8,
        Stage::Take => pieces.div_ceil(LANES) + 8 + of_piece,
    };
    stages.iter().map(trips).max().unwrap_or(0)
}

impl Transform for Centralize {
    fn identity(&self) -> Value {
        json!({"name": "centralize"})
    }

    fn prepare(&mut self, params: &ParamStore) -> Result<(), Error> {
        self.tensors.clear();
        for span in params.layout().spans() {
            let [rows, ref inputs @ ..] = span.shape[..] else { continue };
            if inputs.is_empty() {
                continue;
            }
            let region = params.grads().region_of(span)?;
            let tensor = Tensor::new(params, &span.name, (rows, inputs.iter().product()), region)?;
            self.tensors.push(tensor);
        }
        Ok(())
    }

    fn record(&mut self, recorder: &mut Recorder<'_>, params: &ParamStore) -> Result<(), Error> {
        for tensor in &self.tensors {
            if !params.is_frozen(&tensor.name)? {
                for (kernel, group, grid) in &tensor.stages {
                    recorder.dispatch(kernel, group, &[], *grid);
                }
            }
        }
        Ok(())
    }
}

impl Tensor {
    fn new(
        params: &ParamStore,
        name: &str,
        (rows, columns): (usize, usize),
        grad: Region<'_>,
    ) -> Result<Self, Error> {
        let gpu = params.gpu();
        let (stages, workgroups, pieces) = stages(rows, columns);
        let number = |n: usize| u32::try_from(n).expect("a binding holds fewer than 2^32 elements");
        let call = Call {
            rows: number(rows),
            columns: number(columns),
            pieces: number(pieces),
            piece: number(PIECE),
        };
        let usage = wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST;
        let uniform: Buffer<u8> = Buffer::with_usage(gpu, "centralize", size_of::<Call>(), usage)?;
        uniform.write(gpu, 0, bytemuck::bytes_of(&call))?;
        let sums = if pieces > 1 { rows * pieces } else { 1 };
        let sums: Buffer<f32> = Buffer::storage(gpu, "sums of rows", sums)?;
        let stages = stages.iter().map(|stage| {
            let kernel = gpu.kernel(&source(*stage))?;
            let group = gpu.bind_group(&kernel, &[uniform.region(), grad, sums.region()])?;
            Ok((kernel, group, grid(workgroups)))
        });
        Ok(Self { name: name.into(), stages: stages.collect::<Result<_, Error>>()? })
    }
}
