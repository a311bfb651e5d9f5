use super::Op;
use crate::Error;
use crate::graph::CustomOp;
use crate::graph::lowering::Lowering;
use crate::graph::samples::{Samples, SamplesOf};

/// A custom operation.
#[derive(Debug)]
pub(crate) struct Custom(pub(crate) CustomOp);

impl Op for Custom {
    fn kind(&self) -> &'static str {
        "custom"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        Ok(self.0.infer(layer, inputs)?.swap_remove(0))
    }

    fn parts(&self, inputs: &[&[usize]]) -> Vec<Vec<usize>> {
        self.0.output_shapes(inputs).into_iter().skip(1).collect()
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        self.0.samples(0, of)
    }

    fn samples_of_part(&self, number: usize, of: &SamplesOf<'_>) -> Samples {
        self.0.samples(number + 1, of)
    }

    fn takes_labels(&self, input: usize) -> bool {
        self.0.takes_labels(input)
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        self.0.forward(lowering, id)
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        self.0.backward(lowering, id)
    }
}
