use super::cross_entropy::{CrossEntropy, LABELS, samples_of_rows, shape_of_labels};
use super::{Op, Reads, grid};
use crate::Error;
use crate::gpu::{Binding, uniform};
use crate::graph::lowering::{Lowering, source};
use crate::graph::samples::{Samples, SamplesOf};
use crate::graph::shape::u;

/// Minus the log-probability of the label of each row.
#[derive(Clone, Debug)]
pub(crate) struct Nll {
    /// The class weights and the ignored label; no label smoothing.
    pub(crate) losses: CrossEntropy,
}

uniform! {
    pub(crate) struct Shape {
        rows: u32,
        row_quads: u32,
        ignores: u32,
        ignored: u32,
        accumulate: u32,
        columns: u32,
        pitch: u32,
    }
}

impl Nll {
    fn shape(&self, lowering: &Lowering, id: usize, accumulate: bool) -> Shape {
        let (matrix, losses) = (lowering.input_matrix(id, 0), lowering.matrix(id));
        let [ignores, ignored] = self.losses.ignored();
        Shape {
            rows: u(matrix.rows),
            row_quads: u(matrix.pitch / 4),
            ignores,
            ignored,
            accumulate: u32::from(accumulate),
            columns: u(losses.columns),
            pitch: u(losses.pitch),
        }
    }
}

impl Op for Nll {
    fn kind(&self) -> &'static str {
        "nll_loss"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let labels = shape_of_labels(layer, "logarithms of probabilities", inputs)?;
        self.losses.check(layer, inputs[0][1])?;
        Ok(labels)
    }

    fn takes_labels(&self, input: usize) -> bool {
        input == 1
    }

    fn reads(&self, input: usize) -> Reads {
        // The classes of each position are side by side.
        if input == 0 { Reads::ChannelsLast } else { Reads::Natural }
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        samples_of_rows(of)
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let classes = lowering.input_matrix(id, 0).columns;
        lowering.limit_labels(id, 1, classes);
        lowering.ignore_label(id, 1, self.losses.ignore_index);
        let weights = self.losses.weights(lowering, classes);
        let operands = [lowering.argument(id, 0), lowering.argument(id, 1), weights, lowering.define(id)];
        let wgsl = [include_str!("../../../shaders/ops/nll.wgsl"), LABELS].concat();
        let storage = [Binding::Read, Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<Shape>("nll", wgsl, &storage);
        let (work, shape) = (grid(lowering.matrix(id).len()), self.shape(lowering, id, false));
        lowering.emit(&lowering.name(id), kernel, work, &operands, shape);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((dx, accumulate)) = lowering.gradient_into(id, 0) else { return Ok(()) };
        let matrix = lowering.input_matrix(id, 0);
        let weights = self.losses.weights(lowering, matrix.columns);
        let operands = [lowering.argument(id, 1), weights, lowering.gradient(id), dx];
        let wgsl = [include_str!("../../../shaders/ops/nll_grad.wgsl"), LABELS].concat();
        let storage = [Binding::Read, Binding::Read, Binding::Read, Binding::ReadWrite];
        let kernel = source::<Shape>("nll_grad", wgsl, &storage);
        let shape = self.shape(lowering, id, accumulate);
        lowering.emit(&lowering.name(id), kernel, grid(matrix.quads()), &operands, shape);
        Ok(())
    }
}
