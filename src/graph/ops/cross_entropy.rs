use super::{Op, grid};
use crate::Error;
use crate::gpu::{Binding, uniform};
use crate::graph::lower::{Lowering, source};
use crate::graph::shape::{Matrix, u};

/// Softmax and cross-entropy in one: a loss for each row.
#[derive(Debug)]
pub(crate) struct CrossEntropy;

uniform! {
    pub(crate) struct Shape { rows: u32, classes: u32, row_quads: u32 }
}
uniform! {
    pub(crate) struct GradShape { rows: u32, classes: u32, row_quads: u32, accumulate: u32 }
}

/// Refuses logits that are not `[N, classes]` or labels that are not `[N]`; returns `N`.
pub(super) fn rows_and_labels(layer: &str, inputs: &[&[usize]]) -> Result<usize, Error> {
    let refuse = |expected: String, got: &[usize]| {
        Err(Error::Shape { layer: layer.into(), expected, got: got.to_vec() })
    };
    let &[rows, _] = inputs[0] else { return refuse("logits [N, classes]".into(), inputs[0]) };
    if inputs[1] != [rows] {
        return refuse(format!("labels [{rows}] for logits {:?}", inputs[0]), inputs[1]);
    }
    Ok(rows)
}

impl Op for CrossEntropy {
    fn kind(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        Ok(vec![rows_and_labels(layer, inputs)?])
    }

    fn takes_labels(&self, input: usize) -> bool {
        input == 1
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let matrix = Matrix::of(lowering.input_shape(id, 0));
        lowering.limit_labels(id, 1, matrix.columns);
        let (logits, labels) = (lowering.argument(id, 0), lowering.argument(id, 1));
        let losses = lowering.define(id);
        let shape =
            Shape { rows: u(matrix.rows), classes: u(matrix.columns), row_quads: u(matrix.pitch / 4) };
        let wgsl = concat!(
            include_str!("../../../shaders/ops/cross_entropy.wgsl"),
            include_str!("../../../shaders/shared/softmax.wgsl")
        );
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<Shape>("cross_entropy", wgsl, &storage);
        let work = grid(matrix.rows.next_multiple_of(4));
        lowering.emit(&lowering.name(id), kernel, work, &[logits, labels, losses], shape);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let matrix = Matrix::of(lowering.input_shape(id, 0));
        let shape = GradShape {
            rows: u(matrix.rows),
            classes: u(matrix.columns),
            row_quads: u(matrix.pitch / 4),
            accumulate: u32::from(accumulate),
        };
        let operands = [lowering.argument(id, 0), lowering.argument(id, 1), lowering.gradient(id), dx];
        let wgsl = concat!(
            include_str!("../../../shaders/ops/cross_entropy_grad.wgsl"),
            include_str!("../../../shaders/shared/softmax.wgsl")
        );
        let storage = [Binding::Read, Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<GradShape>("cross_entropy_grad", wgsl, &storage);
        lowering.emit(&lowering.name(id), kernel, grid(matrix.rows), &operands, shape);
        Ok(())
    }
}
