use super::{CrossEntropy, Op, Reads};
use crate::Error;
use crate::graph::lowering::{Keep, Lowering, Operand};
use crate::graph::samples::{Samples, SamplesOf};

/// The class weights as a constant of shape `[classes, 1, ..]` that broadcasts with its input `[N, classes, ..]`.
#[derive(Clone, Debug)]
pub(crate) struct ClassWeights {
    pub(crate) losses: CrossEntropy,
}

impl Op for ClassWeights {
    fn kind(&self) -> &'static str {
        "cross_entropy"
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let &[_, classes, ref places @ ..] = inputs[0] else {
            let expected = "logits [N, classes] or [N, classes, ..]".into();
            return Err(Error::Shape { layer: layer.into(), expected, got: inputs[0].to_vec() });
        };
        self.losses.check(layer, classes)?;
        Ok([vec![classes], vec![1; places.len()]].concat())
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn samples(&self, _: &SamplesOf<'_>) -> Samples {
        Samples::Absent
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (matrix, weight) = (lowering.matrix(id), self.losses.weight.clone().unwrap_or_default());
        let mut padded = vec![0.0; matrix.len()];
        for (at, weight) in weight.into_iter().enumerate() {
            padded[at / matrix.columns * matrix.pitch + at % matrix.columns] = weight;
        }
        let label = "class weights".into();
        let value = lowering.value_kept(label, padded.len(), Keep::Constant(padded));
        lowering.define_as(id, Operand::Value(value));
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }

    fn stops_gradient(&self) -> bool {
        true
    }
}
