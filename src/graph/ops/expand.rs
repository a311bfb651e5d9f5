use super::{Cast, Op, Reads, Samples, SamplesOf, reduce_to};
use crate::Error;
use crate::graph::Var;
use crate::graph::lowering::Lowering;
use crate::graph::samples::Place;
use crate::graph::view::View;

/// Broadcasting as a view: axes of extent 1 are repeated, and axes are added in front.
#[derive(Debug)]
struct Expand {
    size: Vec<isize>,
}

impl Var {
    /// Repeats axes of extent 1 to the extents of `size`, with additional axes in front, like torch's `expand`; -1
    /// keeps an axis. Needs no dispatch; its gradient is summed over the repeated axes.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let x = Graph::new().input("x", [3, 1, 5]);
    /// assert_eq!(x.expand(&[2, -1, 4, 5]).shape(), [2, 3, 4, 5]);
    /// ```
    ///
    /// Refused ([`Error::Shape`], [`Error::Constant`]) if an axis with an extent other than 1 would change.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.Tensor.expand.html>.
    #[must_use]
    pub fn expand(&self, size: &[isize]) -> Var {
        self.unary(Expand { size: size.to_vec() })
    }
}

impl Op for Expand {
    fn kind(&self) -> &'static str {
        "expand"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let shape = inputs[0];
        let mismatch = |expected| Err(Error::Shape { layer: layer.into(), expected, got: shape.to_vec() });
        let Some(first) = self.size.len().checked_sub(shape.len()) else {
            return mismatch(format!("at most as many axes as the size {:?}", self.size));
        };
        let mut out = Vec::with_capacity(self.size.len());
        for (at, &extent) in self.size.iter().enumerate() {
            let own = at.checked_sub(first).map(|axis| shape[axis]);
            out.push(match (extent, own) {
                (-1, Some(own)) => own,
                (1.., None | Some(1)) => extent.unsigned_abs(),
                (1.., Some(own)) if own == extent.unsigned_abs() => own,
                (1.., _) => return mismatch(format!("axes of 1 or as in the size {:?}", self.size)),
                _ => {
                    let allowed = "extents of at least 1, or -1 for an axis that there is";
                    return Err(Error::constant(format!("{layer}: size"), allowed, extent));
                }
            });
        }
        Ok(out)
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        let from = of.inputs[0].1;
        of.moved(|place| {
            let axis = place.axis + of.shape.len() - from.len();
            (of.shape[axis] == from[place.axis]).then_some(Place { axis, ..place })
        })
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let shape = lowering.shape(id).to_vec();
        let from = lowering.argument_view(id, 0).aligned(shape.len());
        let strides = (0..shape.len()).map(|axis| if from.shape[axis] > 1 { from.strides[axis] } else { 0 });
        let strides = strides.collect();
        lowering.define_spread(id, View { shape, strides, ..from });
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((to, adds)) = lowering.gradient_view_into(id, 0) else { return Ok(()) };
        let dy = View::packed(lowering.gradient(id), lowering.shape(id), lowering.order(id));
        reduce_to(lowering, &lowering.name(id), &dy, &to, adds);
        Ok(())
    }
}
