use super::{Cast, Made, Op, Reads, Samples, SamplesOf, dims, rearrange};
use crate::Error;
use crate::graph::Var;
use crate::graph::gather::{Around, Window};
use crate::graph::lowering::Lowering;
use crate::graph::view::View;

/// Concatenation along an axis. Each input is copied to its place.
#[derive(Debug)]
struct Concat {
    dim: isize,
}

impl Var {
    /// Concatenates this value and others along axis `dim` (negative counts from the last), like torch's `cat`. Takes
    /// one dispatch per value.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let graph = Graph::new();
    /// let (x, y) = (graph.input("x", [8, 3, 32]), graph.input("y", [8, 2, 32]));
    /// assert_eq!(x.concat(&[&y, &x], 1).shape(), [8, 8, 32]);
    /// assert_eq!(x.stack(&[&x], 0).shape(), [2, 8, 3, 32]);
    /// ```
    ///
    /// Refused ([`Error::Shape`], [`Error::Constant`]) unless all other axes are equal.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.cat.html>.
    #[must_use]
    pub fn concat(&self, others: &[&Var], dim: isize) -> Var {
        let all: Vec<&Var> = std::iter::once(self).chain(others.iter().copied()).collect();
        self.graph().push(Concat { dim }, None, &all, &[], None)
    }

    /// Stacks this value and others of the same shape along a new axis `dim`, like torch's `stack`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.stack.html>.
    #[must_use]
    pub fn stack(&self, others: &[&Var], dim: isize) -> Var {
        let all: Vec<Var> =
            std::iter::once(self).chain(others.iter().copied()).map(|v| v.unsqueeze(dim)).collect();
        all[0].concat(&all[1..].iter().collect::<Vec<_>>(), dim)
    }
}

/// The region of a concatenation that one input occupies. It can be written directly only if its quads are whole.
fn region(of: &View, axis: usize, start: usize, extent: usize) -> View {
    let mut view = of.clone();
    view.offset += start * view.strides[axis];
    view.shape[axis] = extent;
    view
}

impl Concat {
    /// The axis, and the start and extent of each input along it.
    fn places(&self, lowering: &Lowering, id: usize) -> (usize, Vec<[usize; 2]>) {
        let axis = dims::axis("", "", self.dim, lowering.shape(id)).expect("it was inferred");
        let mut start = 0;
        let places = (0..lowering.inputs(id)).map(|input| {
            let extent = lowering.input_shape(id, input)[axis];
            start += extent;
            [start - extent, extent]
        });
        let places = places.collect();
        (axis, places)
    }
}

impl Op for Concat {
    fn kind(&self) -> &'static str {
        "concat"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let axis = dims::axis(layer, "dim", self.dim, inputs[0])?;
        let mut shape = inputs[0].to_vec();
        for input in &inputs[1..] {
            let fits = input.len() == shape.len()
                && (0..shape.len()).all(|other| other == axis || shape[other] == input[other]);
            if !fits {
                let expected = format!("{:?} except for axis {axis}", inputs[0]);
                return Err(Error::Shape { layer: layer.into(), expected, got: input.to_vec() });
            }
            shape[axis] = shape[axis].saturating_add(input[axis]);
        }
        Ok(shape)
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        let axis = dims::axis("", "", self.dim, of.shape).unwrap_or_default();
        match of.kept() {
            // Concatenated whole batches have equally many samples each.
            Samples::Along(place)
                if place.axis == axis
                    && (place.inner != 1 || of.inputs.iter().any(|(s, _)| *s != Samples::Along(place))) =>
            {
                Samples::Mixed
            }
            kept => kept,
        }
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (axis, places) = self.places(lowering, id);
        let layer = lowering.name(id);
        let y = lowering.define(id);
        let y = View::packed(y, lowering.shape(id), lowering.order(id));
        for (input, [start, extent]) in places.into_iter().enumerate() {
            let from = lowering.argument_view(id, input);
            let end = start + extent;
            if axis != y.lanes || start % 4 == 0 && (end % 4 == 0 || end == y.shape[axis]) {
                rearrange(lowering, &layer, &from, &region(&y, axis, start, extent), false);
                continue;
            }
            // The region starts or ends inside a quad that it shares with its neighbour.
            let mut windows = vec![Window::WHOLE; y.shape.len()];
            windows[axis].start = isize::try_from(start).expect("places are below 2^31");
            lowering.emit_placed(&layer, &from, &y, &windows, Around::Earlier);
        }
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let (axis, places) = self.places(lowering, id);
        let layer = lowering.name(id);
        let dy = View::packed(lowering.gradient(id), lowering.shape(id), lowering.order(id));
        for (input, [start, extent]) in places.into_iter().enumerate() {
            let Some((to, adds)) = lowering.gradient_view_into(id, input) else { continue };
            rearrange(lowering, &layer, &region(&dy, axis, start, extent), &to, adds);
        }
        Ok(())
    }
}
