use super::windows::{GradShape, Loops, Tile};
use super::{Cast, Made, Op, Reads, Windows, grid};
use crate::Error;
use crate::gpu::{Binding, KernelSource, Uniform, uniform};
use crate::graph::lowering::{Lowering, source};
use crate::graph::shape::u;
use crate::graph::template::expand;

/// The mean of each window.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AvgPool2d {
    pub(crate) windows: Windows,
    pub(crate) count_include_pad: bool,
    pub(crate) divisor_override: Option<usize>,
}

uniform! {
    pub(crate) struct Shape {
        images: u32,
        resume: u32,
        last: u32,
        first_row: u32,
        end_row: u32,
        first_column: u32,
        end_column: u32,
    }
}

impl AvgPool2d {
    fn source<S: Uniform>(
        &self,
        (name, wgsl): (&str, &str),
        loops: &Loops,
        x: &[usize],
        y: &[usize],
    ) -> KernelSource {
        let mut constants = self.windows.constants(x, y);
        constants.push(loops.constant());
        constants.push(("COUNT_PADDING", u32::from(self.count_include_pad)));
        constants.push(("DIVISOR", self.divisor_override.map_or(0, u)));
        source::<S>(name, expand(wgsl, &constants, &[]), &[Binding::Read, Binding::ReadWrite])
    }
}

impl Op for AvgPool2d {
    fn kind(&self) -> &'static str {
        "avg_pool2d"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        const MOST: usize = 1 << 24; // f32 counts no further
        match self.divisor_override.filter(|divisor| !(1..=MOST).contains(divisor)) {
            None => self.windows.infer(layer, inputs[0]),
            Some(divisor) => {
                let name = format!("{layer}: divisor_override");
                Err(Error::constant(name, format!("in [1, {MOST}]"), divisor))
            }
        }
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::ChannelsLast
    }

    fn makes(&self) -> Made {
        Made::ChannelsLast
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (input, output) = (lowering.input_shape(id, 0).to_vec(), lowering.shape(id).to_vec());
        let operands = [lowering.argument(id, 0), lowering.define(id)];
        let wgsl = concat!(
            include_str!("../../../shaders/ops/avg_pool2d.wgsl"),
            include_str!("../../../shaders/shared/avg_divisor.wgsl"),
            include_str!("../../../shaders/shared/window_tiles.wgsl")
        );
        let loops = self.windows.loops(&input);
        let kernel = self.source::<Shape>(("avg_pool2d", wgsl), &loops, &input, &output);
        let work = grid(lowering.matrix(id).quads());
        for (number, Tile { rows, columns }) in loops.tiles.iter().enumerate() {
            let shape = Shape {
                images: u(input[0]),
                resume: u32::from(number > 0),
                last: u32::from(number + 1 == loops.tiles.len()),
                first_row: rows.start,
                end_row: rows.end,
                first_column: columns.start,
                end_column: columns.end,
            };
            lowering.emit(&lowering.name(id), kernel.clone(), work, &operands, shape);
        }
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let (input, output) = (lowering.input_shape(id, 0).to_vec(), lowering.shape(id).to_vec());
        let operands = [lowering.gradient(id), dx];
        let wgsl = concat!(
            include_str!("../../../shaders/ops/avg_pool2d_grad.wgsl"),
            include_str!("../../../shaders/shared/avg_divisor.wgsl")
        );
        let loops = self.windows.loops_over(&output);
        let kernel = self.source::<GradShape>(("avg_pool2d_grad", wgsl), &loops, &input, &output);
        let work = grid(lowering.input_matrix(id, 0).quads());
        for shape in loops.gradient(input[0], accumulate) {
            lowering.emit(&lowering.name(id), kernel.clone(), work, &operands, shape);
        }
        Ok(())
    }
}
