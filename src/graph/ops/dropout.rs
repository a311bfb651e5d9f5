use super::add::pass_gradient;
use super::{Made, Op, Reads, grid, same_shapes};
use crate::Error;
use crate::error::closed;
use crate::gpu::{Binding, uniform};
use crate::graph::lower::{Lowering, Operand, source};
use crate::graph::shape::u;
use crate::graph::{Mode, Var};

uniform! {
    pub(crate) struct Shape { quads: u32, stream: u32, p: f32, scale: f32, accumulate: u32 }
}
uniform! {
    pub(crate) struct MaskShape { quads: u32, scale: f32, accumulate: u32 }
}

/// Zeros some elements, drawn anew in each step.
#[derive(Debug)]
struct Dropout {
    p: f64,
}

/// Zeros the elements that a mask names.
#[derive(Debug)]
struct DropoutMask {
    p: f64,
}

impl Var {
    /// Zeros each element with probability `p` and scales the others by `1 / (1 - p)`, as torch's `dropout`; the
    /// identity in plans of [`Mode::Evaluate`]. With `p = 1` all is zero.
    ///
    /// Which elements is a pure function of the seed and the step of [`Plan::set_step`](crate::graph::Plan::set_step)
    /// (a trainer sets them, else both are 0), of the number of this dropout among those of its graph, from 0, and
    /// of the element: not of the device, and not of other layers. Elements are counted in the order in which they lie: as
    /// a matrix whose rows are padded to whole quads, with a column for each element of the last dimension. Where layers
    /// of images (convolution, pooling) come before it, or read it first, a column is a channel and a row is a pixel. An element is kept where its
    /// uniform number is at least `p`: the upper 24 bits of its word of Philox 4x32-10 (Salmon et al. 2011), one
    /// word for each element of the quad, at the counter `[quad, number, step, step >> 32]` with the key
    /// `[seed, seed >> 32]`.
    ///
    /// Refused where `p` is not in `[0, 1]`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>.
    #[must_use]
    pub fn dropout(&self, p: f64) -> Var {
        self.unary(Dropout { p })
    }

    /// As [`Var::dropout`], with the elements to keep given: 1 for each of them, and 0 for all others, in a value
    /// of the same shape, which gets no gradient. The result is `x * mask / (1 - p)`, or zero with `p = 1`.
    #[must_use]
    pub fn dropout_mask(&self, p: f64, mask: &Var) -> Var {
        self.graph().push(DropoutMask { p }, None, &[self, mask], &[], None)
    }
}

/// What kept elements are multiplied with; with `p = 1` there are none.
#[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
fn scale(p: f64) -> f32 {
    if p < 1.0 { (1.0 / (1.0 - p)) as f32 } else { 0.0 }
}

impl Dropout {
    #[expect(clippy::cast_possible_truncation, reason = "kernels compute in f32")]
    fn emit(&self, lowering: &mut Lowering, id: usize, from: Operand, to: Operand, accumulate: bool) {
        let quads = lowering.matrix(id).quads();
        let shape = Shape {
            quads: u(quads),
            stream: u(lowering.number_of_kind(id)),
            p: self.p as f32,
            scale: scale(self.p),
            accumulate: u32::from(accumulate),
        };
        let random = lowering.random();
        let wgsl = concat!(
            include_str!("../../../shaders/ops/dropout.wgsl"),
            include_str!("../../../shaders/shared/random.wgsl")
        );
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<Shape>("dropout", wgsl, &storage);
        lowering.emit(&lowering.name(id), kernel, grid(quads), &[random, from, to], shape);
    }
}

impl Op for Dropout {
    fn kind(&self) -> &'static str {
        "dropout"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        closed(&format!("{layer}: p"), self.p, 0.0, 1.0)?;
        Ok(inputs[0].to_vec())
    }

    fn of_scalars(&self, inputs: &[f64]) -> Option<f64> {
        Some(inputs[0])
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::AsMade
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let x = lowering.argument(id, 0);
        if lowering.mode == Mode::Evaluate || self.p == 0.0 {
            lowering.define_as(id, x);
            return Ok(());
        }
        let y = lowering.define(id);
        self.emit(lowering, id, x, y, false);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        if self.p == 0.0 {
            pass_gradient(lowering, id, 0);
            return Ok(());
        }
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let dy = lowering.gradient(id);
        self.emit(lowering, id, dy, dx, accumulate);
        Ok(())
    }
}

impl DropoutMask {
    fn emit(&self, lowering: &mut Lowering, id: usize, from: Operand, to: Operand, accumulate: bool) {
        let quads = lowering.matrix(id).quads();
        let shape = MaskShape { quads: u(quads), scale: scale(self.p), accumulate: u32::from(accumulate) };
        let mask = lowering.argument(id, 1);
        let wgsl = include_str!("../../../shaders/ops/dropout_mask.wgsl");
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<MaskShape>("dropout_mask", wgsl, &storage);
        lowering.emit(&lowering.name(id), kernel, grid(quads), &[mask, from, to], shape);
    }
}

impl Op for DropoutMask {
    fn kind(&self) -> &'static str {
        "dropout_mask"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        closed(&format!("{layer}: p"), self.p, 0.0, 1.0)?;
        same_shapes(layer, inputs)
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::AsMade
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let x = lowering.argument(id, 0);
        if lowering.mode == Mode::Evaluate {
            lowering.define_as(id, x);
            return Ok(());
        }
        let y = lowering.define(id);
        self.emit(lowering, id, x, y, false);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let dy = lowering.gradient(id);
        self.emit(lowering, id, dy, dx, accumulate);
        Ok(())
    }
}
