use super::area::AreaParts;
use super::split::{self, Epilogue, Sum};
use super::{Cast, Made, Op, Reads, grid};
use crate::Error;
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::uniform;
use crate::graph::lowering::{Keep, Lowering, Operand};
use crate::graph::shape::u;
use crate::graph::template::{Launch, Template};

/// Nearest-neighbour resizing of an image or a sequence.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Upsample {
    pub(crate) target: Target,
}

/// The size of the result along rows and columns.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Size([usize; 2]),
    Scale([f64; 2]),
}

uniform! {
    pub(crate) struct Shape { quads: u32 }
}

uniform! {
    pub(crate) struct GradShape {
        quads: u32,
        accumulate: u32,
        rows_per_part: u32,
        columns_per_part: u32,
        column_parts: u32,
        first_part: u32,
    }
}

/// One axis: which input each output copies.
#[derive(Clone, Debug)]
struct Axis {
    input: usize,
    output: usize,
    /// Inputs per output, in f32 as in torch.
    step: f32,
}

impl Axis {
    /// The input that an output copies, with torch's rounding: at a scale of 41, output 41 copies input 0.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a place is not negative")]
    fn source(&self, output: usize) -> usize {
        ((output as f32 * self.step).floor() as usize).min(self.input - 1)
    }

    /// For each input, and for the end, the first output that copies it or a later input.
    fn firsts(&self) -> Vec<usize> {
        let mut firsts = Vec::with_capacity(self.input + 1);
        for output in 0..self.output {
            let known = self.source(output) + 1;
            firsts.resize(firsts.len().max(known), output);
        }
        firsts.resize(self.input + 1, self.output);
        firsts
    }

    /// How often each input is copied, if all equally often; otherwise 0.
    fn repeat(&self) -> usize {
        let times = self.output / self.input;
        let even = times * self.input == self.output;
        if even && (0..self.output).all(|output| self.source(output) == output / times) { times } else { 0 }
    }

    /// Maximum number of copies of an input.
    fn copies(&self) -> usize {
        match self.repeat() {
            0 => self.firsts().windows(2).map(|ends| ends[1] - ends[0]).max().expect("it has inputs"),
            times => times,
        }
    }
}

/// The shape as an image. A sequence has one row.
fn as_image(shape: &[usize]) -> [usize; 4] {
    match *shape {
        [n, c, height, width] => [n, c, height, width],
        [n, c, length] => [n, c, 1, length],
        _ => unreachable!("checked by infer"),
    }
}

impl Upsample {
    /// Rows and columns. A sequence has one row.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "sizes are rounded down, as in torch"
    )]
    fn axes(&self, input: &[usize]) -> [Axis; 2] {
        let [_, _, height, width] = as_image(input);
        let axis = |axis: usize, input: usize| match self.target {
            Target::Size(size) => Axis { input, output: size[axis], step: input as f32 / size[axis] as f32 },
            Target::Scale(scale) => Axis {
                input,
                output: (input as f64 * scale[axis]) as usize,
                step: (1.0 / scale[axis]) as f32,
            },
        };
        let one_row = Axis { input: 1, output: 1, step: 1.0 };
        [if input.len() == 3 { one_row } else { axis(0, height) }, axis(1, width)]
    }

    fn constants(input: &[usize], [rows, columns]: &[Axis; 2]) -> Vec<(&'static str, u32)> {
        [
            ("QUADS", input[1].div_ceil(4)),
            ("IN_HEIGHT", rows.input),
            ("IN_WIDTH", columns.input),
            ("HEIGHT", rows.output),
            ("WIDTH", columns.output),
            ("REPEAT_ROWS", rows.repeat()),
            ("REPEAT_COLUMNS", columns.repeat()),
        ]
        .map(|(name, n)| (name, u(n)))
        .to_vec()
    }

    /// Creates the lookup table of a kernel. A binding needs a buffer, even if it is not read.
    fn table(
        lowering: &mut Lowering,
        id: usize,
        axes: &[Axis; 2],
        words: impl Fn(&Axis) -> Vec<usize>,
    ) -> Operand {
        let uneven = axes.iter().any(|axis| axis.repeat() == 0);
        let words = if uneven { axes.iter().flat_map(words).collect() } else { vec![0; 4] };
        let bits: Vec<f32> = words.into_iter().map(|word| f32::from_bits(u(word))).collect();
        let label = format!("places of {}", lowering.name(id));
        Operand::Value(lowering.value_kept(label, bits.len(), Keep::Constant(bits)))
    }

    /// Refuses an invalid size or scale.
    fn check(&self, layer: &str) -> Result<(), Error> {
        let refused = |number: &str, allowed: &str, value: String| {
            Err(Error::constant(format!("{layer}: {number}"), allowed, value))
        };
        match self.target {
            Target::Size(size) if size.contains(&0) => refused("size", "at least 1", "0".into()),
            Target::Scale(scale) => match scale.into_iter().find(|s| !(s.is_finite() && *s > 0.0)) {
                Some(scale) => refused("scale_factor", "positive and finite", scale.to_string()),
                None => Ok(()),
            },
            Target::Size(_) => Ok(()),
        }
    }
}

impl Op for Upsample {
    fn kind(&self) -> &'static str {
        "upsample"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let refuse =
            |expected: String| Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() });
        let rank = inputs[0].len();
        if rank != 3 && rank != 4 {
            return refuse("an image [N, C, H, W] or a sequence [N, C, L]".into());
        }
        self.check(layer)?;
        let differ = match self.target {
            Target::Size([rows, columns]) => rows != columns,
            Target::Scale([rows, columns]) => rows.to_bits() != columns.to_bits(),
        };
        if rank == 3 && differ {
            return refuse("an image [N, C, H, W] for two numbers".into());
        }
        let [rows, columns] = self.axes(inputs[0]).map(|axis| axis.output);
        let mut shape = inputs[0].to_vec();
        shape[rank - 1] = columns;
        if rank == 4 {
            shape[2] = rows;
        }
        if shape.contains(&0) {
            return refuse(format!("so many elements that some are left, as {shape:?} has none"));
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
        let input = lowering.input_shape(id, 0).to_vec();
        let axes = self.axes(&input);
        let table =
            Self::table(lowering, id, &axes, |axis| (0..axis.output).map(|at| axis.source(at)).collect());
        let operands = [lowering.argument(id, 0), table, lowering.define(id)];
        let quads = lowering.matrix(id).quads();
        let template = Template {
            name: "upsample_nearest",
            source: include_str!("../../../shaders/ops/upsample_nearest.wgsl"),
            constants: Self::constants(&input, &axes),
            aliases: vec![],
        };
        let [x, y, _] = grid(quads);
        let launch = Launch { template, shape: Shape { quads: u(quads) }, groups: [x, y] };
        lowering.launch(&lowering.name(id), &[Read, Read, ReadWrite], &operands, launch);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let input = lowering.input_shape(id, 0).to_vec();
        let axes = self.axes(&input);
        let table = Self::table(lowering, id, &axes, Axis::firsts);
        let operands = [lowering.gradient(id), table, dx];
        let parts = AreaParts::of([0, 1].map(|axis| u(axes[axis].copies())));
        let quads = lowering.input_matrix(id, 0).quads();
        let mut constants = Self::constants(&input, &axes);
        constants.push(parts.constant());
        let template = Template {
            name: "upsample_nearest_grad",
            source: concat!(
                include_str!("../../../shaders/ops/upsample_nearest_grad.wgsl"),
                include_str!("../../../shaders/shared/area_part.wgsl")
            ),
            constants,
            aliases: vec![],
        };
        let [x, y, _] = grid(quads);
        let sum = Sum { parts: parts.count, len: 4 * quads, epilogue: Epilogue { accumulate, finish: None } };
        let (layer, storage) = (lowering.name(id), [Read, Read, ReadWrite]);
        split::emit(lowering, &layer, (&storage, &operands), sum, |first_part, accumulate| {
            Launch {
                template: template.clone(),
                shape: GradShape {
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(input: usize, output: usize, step: f64) -> Axis {
        #[expect(clippy::cast_possible_truncation, reason = "as torch does")]
        Axis { input, output, step: step as f32 }
    }

    #[test]
    fn outputs_are_copies_of_the_inputs_that_torch_takes() {
        let sources = |axis: &Axis| (0..axis.output).map(|at| axis.source(at)).collect::<Vec<_>>();
        let double = axis(3, 6, 0.5);
        assert_eq!((sources(&double), double.repeat(), double.copies()), (vec![0, 0, 1, 1, 2, 2], 2, 2));
        let uneven = axis(3, 4, 1.0 / 1.5);
        assert_eq!((sources(&uneven), uneven.repeat()), (vec![0, 0, 1, 2], 0));
        let third = axis(7, 2, 3.5);
        assert_eq!((sources(&third), third.firsts()), (vec![0, 3], vec![0, 1, 1, 1, 2, 2, 2, 2]));
        // In f32, 41 times (1 / 41) is less than 1.
        let rounded = axis(2, 82, 1.0 / 41.0);
        assert_eq!((rounded.source(41), rounded.repeat(), rounded.copies()), (0, 0, 42));
    }

    #[test]
    fn copies_are_between_the_firsts() {
        for (input, output) in (1..20).flat_map(|input| (1..40).map(move |output| (input, output))) {
            let axis = axis(input, output, input as f64 / output as f64);
            let firsts = axis.firsts();
            assert_eq!((firsts.len(), firsts[0], firsts[input]), (input + 1, 0, output));
            for at in 0..output {
                let source = axis.source(at);
                assert!((firsts[source]..firsts[source + 1]).contains(&at), "{axis:?}: {at}");
            }
        }
    }
}
