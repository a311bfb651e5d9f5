use super::windows::{GradShape, Loops, Tile};
use super::{Cast, Made, Op, Reads, Windows, grid};
use crate::Error;
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::{Binding, KernelSource, Uniform, uniform};
use crate::graph::lowering::{Lowering, Operand, source};
use crate::graph::shape::u;
use crate::graph::template::expand;

/// The maximum of each window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MaxPool2d {
    pub(crate) windows: Windows,
}

uniform! {
    pub(crate) struct Shape {
        images: u32,
        relu: u32,
        resume: u32,
        first_row: u32,
        end_row: u32,
        first_column: u32,
        end_column: u32,
    }
}

uniform! {
    pub(crate) struct SpreadShape { images: u32, accumulate: u32 }
}

const PLACES: [&str; 2] = [
    include_str!("../../../shaders/shared/places16.wgsl"),
    include_str!("../../../shaders/shared/places32.wgsl"),
];

/// For 2x2 windows whose argmax indices were saved by a convolution.
const PLACES_IN_BLOCKS: &str = include_str!("../../../shaders/shared/places4.wgsl");

impl MaxPool2d {
    /// Whether indices need 32 bits. 16 bits can number all elements of a window but two.
    fn wide(&self) -> bool {
        self.windows.kernel[0] * self.windows.kernel[1] >= 0xffff
    }

    fn source<S: Uniform>(
        &self,
        (name, wgsl): (&str, &str),
        (places, of_places): (&str, Vec<(&'static str, u32)>),
        storage: &[Binding],
        loops: Option<&Loops>,
        [x, y]: [&[usize]; 2],
    ) -> KernelSource {
        let mut constants = self.windows.constants(x, y);
        constants.extend(loops.map(Loops::constant));
        constants.extend(of_places);
        let wgsl = [wgsl, places].concat();
        source::<S>(name, expand(&wgsl, &constants, &[]), storage)
    }

    /// Allocates the argmax indices that a convolution fused with this pooling saves: one word per channel for every
    /// `block` windows of a row.
    pub(super) fn blocks_of_places(lowering: &mut Lowering, id: usize, block: u32) -> Operand {
        let (quads, width) = (lowering.matrix(id).quads(), lowering.shape(id)[3]);
        lowering.save(id, "places", 4 * quads / width * u(width).div_ceil(block) as usize)
    }

    /// Emits the gradient of the unpooled output of a convolution fused with this pooling, and returns it.
    pub(super) fn halved_grad(lowering: &mut Lowering, id: usize, block: u32) -> Operand {
        let matrix = lowering.input_matrix(id, 0);
        let dx = lowering.scratch("gradient before pooling", matrix.len());
        let windows =
            Windows { kernel: [2, 2], stride: [2, 2], padding: [0, 0], dilation: [1, 1], ceil_mode: false };
        let blocks = u(lowering.shape(id)[3]).div_ceil(block);
        let places = (PLACES_IN_BLOCKS, vec![("BLOCK", block), ("BLOCKS", blocks)]);
        Self { windows }.emit_grad(lowering, id, places, (dx, false));
        dx
    }

    /// Emits the input gradient of node `id`. `places` is the WGSL that reads the argmax indices, with its constants.
    fn emit_grad(
        &self,
        lowering: &mut Lowering,
        id: usize,
        places: (&str, Vec<(&'static str, u32)>),
        (dx, accumulate): (Operand, bool),
    ) {
        let (input, output) = (lowering.input_shape(id, 0).to_vec(), lowering.shape(id).to_vec());
        let name = lowering.name(id);
        let operands = [lowering.gradient(id), lowering.saved(id), dx];
        let storage = [Read, Read, ReadWrite];
        if self.windows.tile(&input) && !self.windows.loops(&input).tiled {
            let wgsl = include_str!("../../../shaders/ops/max_pool2d_spread.wgsl");
            let text = ("max_pool2d_spread", wgsl);
            let kernel = self.source::<SpreadShape>(text, places, &storage, None, [&input, &output]);
            let shape = SpreadShape { images: u(input[0]), accumulate: u32::from(accumulate) };
            lowering.emit(&name, kernel, grid(lowering.matrix(id).quads()), &operands, shape);
            return;
        }
        let loops = self.windows.loops_over(&output);
        let text = ("max_pool2d_grad", include_str!("../../../shaders/ops/max_pool2d_grad.wgsl"));
        let kernel = self.source::<GradShape>(text, places, &storage, Some(&loops), [&input, &output]);
        for shape in loops.gradient(input[0], accumulate) {
            let grid = grid(lowering.input_matrix(id, 0).quads());
            lowering.emit(&name, kernel.clone(), grid, &operands, shape);
        }
    }

    /// Allocates the argmax indices for the backward pass.
    fn places(lowering: &mut Lowering, id: usize, wide: bool) -> Operand {
        let quads = lowering.matrix(id).quads();
        lowering.save(id, "places", if wide { 4 * quads } else { 2 * quads })
    }
}

impl Op for MaxPool2d {
    fn kind(&self) -> &'static str {
        "max_pool2d"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let shape = self.windows.infer(layer, inputs[0])?;
        let empty = |axis| self.windows.empty(axis, inputs[0][2 + axis]);
        if (0..2).any(|axis| empty(axis).is_some_and(|first| first < shape[2 + axis])) {
            let expected =
                "an image large enough that every dilated window contains one of its elements".into();
            return Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() });
        }
        Ok(shape)
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::ChannelsLast
    }

    fn makes(&self) -> Made {
        Made::ChannelsLast
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (input, output) = (lowering.input_shape(id, 0).to_vec(), lowering.shape(id).to_vec());
        let quads = lowering.matrix(id).quads();
        let relu = lowering.relu_before(id);
        let operands =
            [lowering.argument(id, 0), lowering.define(id), Self::places(lowering, id, self.wide())];
        let wgsl = concat!(
            include_str!("../../../shaders/ops/max_pool2d.wgsl"),
            include_str!("../../../shaders/shared/window_tiles.wgsl")
        );
        let loops = self.windows.loops(&input);
        let storage = [Read, ReadWrite, ReadWrite];
        let places = (PLACES[usize::from(self.wide())], vec![]);
        let text = ("max_pool2d", wgsl);
        let kernel = self.source::<Shape>(text, places, &storage, Some(&loops), [&input, &output]);
        for (number, Tile { rows, columns }) in loops.tiles.iter().enumerate() {
            let shape = Shape {
                images: u(input[0]),
                relu: u32::from(relu && number + 1 == loops.tiles.len()),
                resume: u32::from(number > 0),
                first_row: rows.start,
                end_row: rows.end,
                first_column: columns.start,
                end_column: columns.end,
            };
            lowering.emit(&lowering.name(id), kernel.clone(), grid(quads), &operands, shape);
        }
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        if lowering.leave_to_pooled(id) {
            return Ok(());
        }
        if let Some(dx) = lowering.gradient_into(id, 0) {
            self.emit_grad(lowering, id, (PLACES[usize::from(self.wide())], vec![]), dx);
        }
        Ok(())
    }

    fn halves(&self) -> bool {
        let Windows { kernel, stride, padding, dilation, ceil_mode } = self.windows;
        (kernel, stride, padding, dilation) == ([2, 2], [2, 2], [0, 0], [1, 1]) && !ceil_mode
    }

    fn takes_relu_before(&self) -> bool {
        true
    }
}
