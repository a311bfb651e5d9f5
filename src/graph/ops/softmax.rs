use super::{Op, column_constants, grid};
use crate::Error;
use crate::gpu::{Binding, KernelSource, Uniform, uniform};
use crate::graph::Var;
use crate::graph::lower::{Lowering, source};
use crate::graph::shape::{Matrix, u};
use crate::graph::template::expand;

uniform! {
    pub(crate) struct Shape { lines: u32 }
}
uniform! {
    pub(crate) struct GradShape { lines: u32, accumulate: u32 }
}

/// The softmax along a dimension, or its logarithm.
#[derive(Debug)]
struct Softmax {
    dim: isize,
    log: bool,
}

impl Var {
    /// `exp(x) / sum(exp(x))` along dimension `dim`, negative from the last, as torch's `softmax`.
    ///
    /// As there, NaN or plus infinity, or nothing but minus infinity, makes a whole line NaN.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Softmax.html>.
    #[must_use]
    pub fn softmax(&self, dim: isize) -> Var {
        self.unary(Softmax { dim, log: false })
    }

    /// The logarithm of [`Var::softmax`], accurate where that is near 0 or 1, as torch's `log_softmax`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.LogSoftmax.html>.
    #[must_use]
    pub fn log_softmax(&self, dim: isize) -> Var {
        self.unary(Softmax { dim, log: true })
    }
}

/// How an invocation walks a matrix along one dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Lines {
    /// Invocations.
    lines: usize,
    /// Quads that each of them walks.
    count: usize,
    /// Quads from one to the next.
    stride: usize,
    /// Whether they hold the columns of one row.
    along_columns: bool,
}

impl Lines {
    fn of(shape: &[usize], axis: usize) -> Self {
        let matrix = Matrix::of(shape);
        let row_quads = matrix.pitch / 4;
        let columns = if shape.len() == 4 { 1 } else { shape.len() - 1 };
        if axis == columns {
            return Self { lines: matrix.rows, count: row_quads, stride: 1, along_columns: true };
        }
        let later = (axis + 1..shape.len()).filter(|&later| later != columns);
        let stride = row_quads * later.map(|later| shape[later]).product::<usize>();
        Self { lines: matrix.quads() / shape[axis], count: shape[axis], stride, along_columns: false }
    }
}

impl Softmax {
    /// The dimension from the first, if there is such a one.
    fn axis(&self, rank: usize) -> Option<usize> {
        let from_end = if self.dim < 0 { rank } else { 0 };
        from_end.checked_add_signed(self.dim).filter(|&axis| axis < rank)
    }

    fn lines(&self, shape: &[usize]) -> Lines {
        Lines::of(
            shape,
            self.axis(shape.len()).expect("the dimension was checked when the shape was inferred"),
        )
    }

    fn source<S: Uniform>(
        &self,
        stem: &str,
        wgsl: &str,
        storage: &[Binding],
        shape: &[usize],
    ) -> KernelSource {
        let lines = self.lines(shape);
        let mut constants = vec![
            ("COUNT", u(lines.count)),
            ("STRIDE", u(lines.stride)),
            ("ALONG_COLUMNS", u32::from(lines.along_columns)),
            ("LOG", u32::from(self.log)),
        ];
        constants.extend(column_constants(Matrix::of(shape)));
        let parts = [
            wgsl,
            include_str!("../../../shaders/shared/columns.wgsl"),
            include_str!("../../../shaders/shared/math.wgsl"),
        ];
        source::<S>(stem, expand(&parts.concat(), &constants, &[]), storage)
    }
}

impl Op for Softmax {
    fn kind(&self) -> &'static str {
        if self.log { "log_softmax" } else { "softmax" }
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let rank = inputs[0].len();
        match self.axis(rank) {
            Some(_) => Ok(inputs[0].to_vec()),
            None => {
                let allowed = format!("in [-{rank}, {}] for {:?}", rank - 1, inputs[0]);
                Err(Error::constant(format!("{layer}: dim"), allowed, self.dim))
            }
        }
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let shape = lowering.shape(id).to_vec();
        let lines = self.lines(&shape).lines;
        let x = lowering.argument(id, 0);
        let y = lowering.define(id);
        let wgsl = include_str!("../../../shaders/ops/softmax.wgsl");
        let kernel = self.source::<Shape>("softmax", wgsl, &[Binding::Read, Binding::ReadWrite], &shape);
        lowering.emit(&lowering.name(id), kernel, grid(lines), &[x, y], Shape { lines: u(lines) });
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let shape = lowering.shape(id).to_vec();
        let lines = self.lines(&shape).lines;
        let (y, dy) = (lowering.result(id), lowering.gradient(id));
        let wgsl = include_str!("../../../shaders/ops/softmax_grad.wgsl");
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = self.source::<GradShape>("softmax_grad", wgsl, &storage, &shape);
        let shape = GradShape { lines: u(lines), accumulate: u32::from(accumulate) };
        lowering.emit(&lowering.name(id), kernel, grid(lines), &[y, dy, dx], shape);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_follow_torchs_dimensions_through_the_matrix() {
        let lines = |shape: &[usize], axis| {
            let Lines { lines, count, stride, along_columns } = Lines::of(shape, axis);
            (lines, count, stride, along_columns)
        };
        assert_eq!(lines(&[7], 0), (1, 2, 1, true));
        assert_eq!([0, 1].map(|d| lines(&[6, 5], d)), [(2, 6, 2, false), (6, 2, 1, true)]);
        let rank_3 = [(6, 2, 6, false), (4, 3, 2, false), (6, 2, 1, true)];
        assert_eq!([0, 1, 2].map(|d| lines(&[2, 3, 5], d)), rank_3);
        // Rows are pixels, columns are channels.
        let images = [(30, 2, 30, false), (30, 2, 1, true), (20, 3, 10, false), (12, 5, 2, false)];
        assert_eq!([0, 1, 2, 3].map(|d| lines(&[2, 6, 3, 5], d)), images);
    }
}
