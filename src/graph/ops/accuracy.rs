use super::cross_entropy::rows_and_labels;
use super::{Op, grid};
use crate::Error;
use crate::gpu::{Binding, uniform};
use crate::graph::Var;
use crate::graph::lower::{Lowering, source};
use crate::graph::shape::{Matrix, u};

uniform! {
    pub(crate) struct Shape { rows: u32, classes: u32, row_pitch: u32 }
}

#[derive(Debug)]
struct Accuracy;

impl Var {
    /// The part of the rows of these logits `[N, classes]` whose largest is at their label, of shape `[1]`.
    ///
    /// Of equal logits the first counts as the largest. It has no gradient.
    #[must_use]
    pub fn accuracy(&self, labels: &Var) -> Var {
        self.graph().push(Accuracy, None, &[self, labels], &[], None).mean()
    }
}

impl Op for Accuracy {
    fn kind(&self) -> &'static str {
        "accuracy"
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
        let hits = lowering.define(id);
        let shape = Shape { rows: u(matrix.rows), classes: u(matrix.columns), row_pitch: u(matrix.pitch) };
        let wgsl = include_str!("../../../shaders/ops/accuracy.wgsl");
        let storage = [Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<Shape>("accuracy", wgsl, &storage);
        let work = grid(matrix.rows.next_multiple_of(4));
        lowering.emit(&lowering.name(id), kernel, work, &[logits, labels, hits], shape);
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
}
