use super::{Cast, Op, Reads, Samples, SamplesOf, dims};
use crate::Error;
use crate::graph::Var;
use crate::graph::lowering::Lowering;
use crate::graph::samples::Place;
use crate::graph::view::View;

/// Reorders axes. Always a view.
#[derive(Debug)]
enum Permute {
    /// All axes, in their new order.
    To(Vec<isize>),
    /// Swaps two axes.
    Swap([isize; 2]),
}

impl Var {
    /// Reorders the axes: axis `i` of the result is axis `dims[i]` of this value (negative counts from the last),
    /// like torch's `permute`. Needs no dispatch.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let x = Graph::new().input("x", [8, 50, 4, 32]);
    /// assert_eq!(x.permute(&[0, 2, 1, 3]).shape(), [8, 4, 50, 32]);
    /// assert_eq!(x.transpose(-1, -2).shape(), [8, 50, 32, 4]);
    /// ```
    ///
    /// Refused ([`Error::Shape`], [`Error::Constant`]) unless `dims` names each axis once.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.permute.html>.
    #[must_use]
    pub fn permute(&self, dims: &[isize]) -> Var {
        self.unary(Permute::To(dims.to_vec()))
    }

    /// Swaps two axes (negative counts from the last), like torch's `transpose`. Needs no dispatch.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.transpose.html>.
    #[must_use]
    pub fn transpose(&self, dim0: isize, dim1: isize) -> Var {
        self.unary(Permute::Swap([dim0, dim1]))
    }
}

impl Permute {
    /// For each axis of the result, the axis of the input.
    fn axes(&self, layer: &str, shape: &[usize]) -> Result<Vec<usize>, Error> {
        match self {
            Self::To(dims) if dims.len() != shape.len() => {
                let expected = format!("{} axes, as in dims {dims:?}", dims.len());
                Err(Error::Shape { layer: layer.into(), expected, got: shape.to_vec() })
            }
            Self::To(dims) => dims::axes(layer, "dims", dims, shape),
            Self::Swap([dim0, dim1]) => {
                let [a, b] =
                    [dims::axis(layer, "dim0", *dim0, shape)?, dims::axis(layer, "dim1", *dim1, shape)?];
                let mut axes: Vec<usize> = (0..shape.len()).collect();
                axes.swap(a, b);
                Ok(axes)
            }
        }
    }
}

impl Op for Permute {
    fn kind(&self) -> &'static str {
        match self {
            Self::To(_) => "permute",
            Self::Swap(_) => "transpose",
        }
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        Ok(self.axes(layer, inputs[0])?.into_iter().map(|axis| inputs[0][axis]).collect())
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        let axes = self.axes("", of.inputs[0].1).unwrap_or_default();
        let to = |axis| axes.iter().position(|&from| from == axis);
        of.moved(|place| Some(Place { axis: to(place.axis)?, ..place }))
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let axes = self.axes(&lowering.name(id), lowering.input_shape(id, 0))?;
        dims::define_moved(lowering, id, |from| Some(permuted(from, &axes)));
        Ok(())
    }

    fn backward(&self, _: &mut Lowering, _: usize) -> Result<(), Error> {
        Ok(())
    }
}

fn permuted(from: &View, axes: &[usize]) -> View {
    View {
        of: from.of,
        shape: axes.iter().map(|&axis| from.shape[axis]).collect(),
        strides: axes.iter().map(|&axis| from.strides[axis]).collect(),
        offset: from.offset,
        lanes: axes.iter().position(|&axis| axis == from.lanes).expect("each axis is named"),
    }
}
