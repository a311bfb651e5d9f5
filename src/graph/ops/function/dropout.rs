use super::{Call, Function, broadcast, function, trains};
use crate::Error;
use crate::error::closed;
use crate::graph::Var;
use crate::graph::lowering::Lowering;
use crate::graph::ops::{Cast, Made, Op, Reads, dims};

/// Zeroes random elements, chosen anew in each step.
#[derive(Debug)]
struct Dropout {
    p: f64,
}

/// Zeroes the elements selected by a mask.
#[derive(Debug)]
struct DropoutMask {
    p: f64,
}

const DROPOUT: &Function = function!("dropout", [OfNothing], None);
const DROPOUT_MASK: &Function = function!("dropout_mask", [OfInputs, Absent], None);

impl Var {
    /// Zeroes each element with probability `p` and scales the others by `1 / (1 - p)`, like torch's `dropout`. The
    /// identity in plans of [`Mode::Evaluate`](crate::graph::Mode::Evaluate). With `p = 1` everything is zero.
    ///
    /// Which elements are kept depends only on the seed and the step from
    /// [`Plan::set_step`](crate::graph::Plan::set_step) (set by a trainer, otherwise 0), the number of this dropout
    /// among those of its graph (from 0), and the index of the element; not on the device or on other layers.
    /// Elements are indexed in memory order: as a matrix with one column per element of the last dimension, whose
    /// rows are padded to whole quads. If image layers (convolution, pooling) come before the dropout, or read it
    /// first, a column is a channel and a row is a pixel. An element is kept if its uniform number is at least `p`.
    /// That number is the upper 24 bits of its word of Philox 4x32-10 (Salmon et al. 2011), which gives one word per
    /// element of a quad, for the counter `[quad, number, step, step >> 32]` and the key `[seed, seed >> 32]`.
    ///
    /// Refused if `p` is not in `[0, 1]`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.Dropout.html>.
    #[must_use]
    pub fn dropout(&self, p: f64) -> Var {
        self.unary(Dropout { p })
    }

    /// Like [`Var::dropout`], with a given mask of the same shape: 1 for elements to keep, 0 for all others. The mask
    /// gets no gradient. The result is `x * mask / (1 - p)`, or zero if `p = 1`.
    #[must_use]
    pub fn dropout_mask(&self, p: f64, mask: &Var) -> Var {
        self.graph().push(DropoutMask { p }, None, &[self, mask], &[], None)
    }
}

/// The scale of kept elements. With `p = 1` none is kept.
fn scale(p: f64) -> f64 {
    if p < 1.0 { 1.0 / (1.0 - p) } else { 0.0 }
}

/// The result of a dropout that drops nothing.
fn keep_all(lowering: &mut Lowering, id: usize) {
    let is_view = dims::define_moved(lowering, id, |from| Some(from.clone()));
    debug_assert!(is_view, "what is left as it is lies where it lay");
}

impl Op for Dropout {
    fn kind(&self) -> &'static str {
        "dropout"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        closed(&format!("{layer}: p"), self.p, 0.0, 1.0)?;
        Ok(inputs[0].to_vec())
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn of_scalars(&self, inputs: &[f64]) -> Option<f64> {
        Some(inputs[0])
    }

    fn call(&self, lowering: &Lowering, id: usize) -> Option<Call> {
        let stream = Some(lowering.number_of_kind(id));
        let drops = trains(lowering.mode) && self.p > 0.0;
        drops.then(|| Call { function: DROPOUT, constants: vec![self.p, scale(self.p)], stream })
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        keep_all(lowering, id);
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

impl Op for DropoutMask {
    fn kind(&self) -> &'static str {
        "dropout_mask"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        closed(&format!("{layer}: p"), self.p, 0.0, 1.0)?;
        let shape = broadcast(layer, inputs)?;
        if shape != inputs[0] {
            let expected = format!("a mask that broadcasts to {:?}", inputs[0]);
            return Err(Error::Shape { layer: layer.into(), expected, got: inputs[1].to_vec() });
        }
        Ok(shape)
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn call(&self, lowering: &Lowering, _: usize) -> Option<Call> {
        let call = || Call { function: DROPOUT_MASK, constants: vec![scale(self.p)], stream: None };
        trains(lowering.mode).then(call)
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        keep_all(lowering, id);
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
}
