use super::{Cast, Op};
use crate::Error;
use crate::graph::Var;
use crate::graph::lowering::Lowering;

/// A further result of a node.
#[derive(Debug)]
struct Part {
    number: usize,
}

impl Var {
    /// A further result of the op that computes this value, numbered as in [`Op::parts`].
    #[must_use]
    pub(crate) fn part(&self, number: usize) -> Var {
        self.unary(Part { number })
    }
}

impl Op for Part {
    fn kind(&self) -> &'static str {
        "part"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, _: &str, _: &[&[usize]]) -> Result<Vec<usize>, Error> {
        unreachable!("its shape is asked of the op that makes it")
    }

    fn part(&self) -> Option<usize> {
        Some(self.number)
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        lowering.define_spread(id, lowering.further_result(id, self.number));
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        // The op that computed it reads this gradient.
        Ok(())
    }
}
