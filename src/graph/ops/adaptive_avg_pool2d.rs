use super::area::AreaParts;
use super::split::{self, Epilogue, Sum};
use super::{Cast, Made, Op, Reads, grid};
use crate::Error;
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::uniform;
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::shape::{image, u};
use crate::graph::template::{Launch, Template};

/// The mean over a given number of windows that divide the image as evenly as possible.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AdaptiveAvgPool2d {
    /// Rows and columns of the output; `None` for the input's.
    pub(crate) output: [Option<usize>; 2],
}

uniform! {
    pub(crate) struct Shape {
        quads: u32,
        accumulate: u32,
        rows_per_part: u32,
        columns_per_part: u32,
        column_parts: u32,
        first_part: u32,
    }
}

/// One axis: numbers of elements of input and output, and both in lowest terms, which keeps products in the kernels
/// small.
#[derive(Clone, Copy, Debug)]
struct Axis {
    input: usize,
    output: usize,
    taken: usize,
    made: usize,
}

impl Axis {
    fn new(input: usize, output: usize) -> Self {
        let common = gcd(input, output);
        Self { input, output, taken: input / common, made: output / common }
    }

    /// Whether the largest products in the kernels fit in 32 bits.
    fn fits(self) -> bool {
        let product = |places: usize, times: usize| places.saturating_mul(times) <= u32::MAX as usize;
        product(self.output, self.taken) && product(self.input, self.made)
    }

    /// Maximum number of elements of a window.
    fn window(self) -> usize {
        most(self.taken, self.made).min(self.input)
    }

    /// Maximum number of windows that contain one element.
    fn windows(self) -> usize {
        most(self.made, self.taken).min(self.output)
    }
}

/// Maximum number of `taken` elements in one of `made` pieces. Elements shared by two pieces count in both.
fn most(taken: usize, made: usize) -> usize {
    if made == 1 { taken } else { taken / made + 2 }
}

fn gcd(a: usize, b: usize) -> usize {
    if b == 0 { a } else { gcd(b, a % b) }
}

impl AdaptiveAvgPool2d {
    fn axes(&self, input: &[usize]) -> [Axis; 2] {
        [0, 1].map(|axis| Axis::new(input[2 + axis], self.output[axis].unwrap_or(input[2 + axis])))
    }

    /// Emits a sum over an area around each quad of an output.
    fn emit(
        &self,
        lowering: &mut Lowering,
        id: usize,
        (name, source): (&'static str, &'static str),
        (operands, quads, accumulate): ([Operand; 2], usize, bool),
        area: [usize; 2],
    ) {
        let input = lowering.input_shape(id, 0).to_vec();
        let [rows, columns] = self.axes(&input);
        let parts = AreaParts::of(area.map(u));
        let constants = [
            ("QUADS", input[1].div_ceil(4)),
            ("IN_HEIGHT", rows.input),
            ("IN_WIDTH", columns.input),
            ("HEIGHT", rows.output),
            ("WIDTH", columns.output),
            ("ROWS_TAKEN", rows.taken),
            ("ROWS_MADE", rows.made),
            ("COLUMNS_TAKEN", columns.taken),
            ("COLUMNS_MADE", columns.made),
        ];
        let mut constants = constants.map(|(name, n)| (name, u(n))).to_vec();
        constants.push(parts.constant());
        let template = Template { name, source, constants, aliases: vec![] };
        let [x, y, _] = grid(quads);
        let sum = Sum { parts: parts.count, len: 4 * quads, epilogue: Epilogue { accumulate, finish: None } };
        let layer = lowering.name(id);
        split::emit(lowering, &layer, (&[Read, ReadWrite], &operands), sum, |first_part, accumulate| {
            Launch {
                template: template.clone(),
                shape: Shape {
                    quads: u(quads),
                    accumulate: u32::from(accumulate),
                    rows_per_part: parts.rows,
                    columns_per_part: parts.columns,
                    column_parts: parts.column_parts,
                    first_part,
                },
                groups: [x, y],
            }
            .into()
        });
    }
}

impl Op for AdaptiveAvgPool2d {
    fn kind(&self) -> &'static str {
        "adaptive_avg_pool2d"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let [n, c, ..] = image(layer, inputs[0])?;
        if self.output.contains(&Some(0)) {
            return Err(Error::constant(format!("{layer}: output_size"), "at least 1", 0));
        }
        let axes = self.axes(inputs[0]);
        let [height, width] = axes.map(|axis| axis.output);
        match axes.iter().find(|axis| !axis.fits()) {
            None => Ok(vec![n, c, height, width]),
            Some(axis) => {
                let expected = format!(
                    "an axis that {} windows can cut in 32 bits: at most {} elements, or a multiple",
                    axis.output,
                    u32::MAX as usize / axis.output
                );
                Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() })
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
        let operands = [lowering.argument(id, 0), lowering.define(id)];
        let area = self.axes(lowering.input_shape(id, 0)).map(Axis::window);
        let text = concat!(
            include_str!("../../../shaders/ops/adaptive_avg_pool2d.wgsl"),
            include_str!("../../../shaders/shared/even_windows.wgsl"),
            include_str!("../../../shaders/shared/area_part.wgsl")
        );
        let quads = lowering.matrix(id).quads();
        self.emit(lowering, id, ("adaptive_avg_pool2d", text), (operands, quads, false), area);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let operands = [lowering.gradient(id), dx];
        let area = self.axes(lowering.input_shape(id, 0)).map(Axis::windows);
        let text = concat!(
            include_str!("../../../shaders/ops/adaptive_avg_pool2d_grad.wgsl"),
            include_str!("../../../shaders/shared/even_windows.wgsl"),
            include_str!("../../../shaders/shared/area_part.wgsl")
        );
        let quads = lowering.input_matrix(id, 0).quads();
        self.emit(lowering, id, ("adaptive_avg_pool2d_grad", text), (operands, quads, accumulate), area);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_window_and_no_overlap_is_larger_than_is_said() {
        for (input, output) in (1..20).flat_map(|input| (1..20).map(move |output| (input, output))) {
            let axis = Axis::new(input, output);
            let windows: Vec<_> =
                (0..output).map(|i| i * input / output..((i + 1) * input).div_ceil(output)).collect();
            let longest = windows.iter().map(|window| window.len()).max().unwrap();
            let over = |at: usize| windows.iter().filter(|window| window.contains(&at)).count();
            assert!(longest <= axis.window(), "{axis:?}");
            assert!((0..input).all(|at| (1..=axis.windows()).contains(&over(at))), "{axis:?}");
        }
    }
}
