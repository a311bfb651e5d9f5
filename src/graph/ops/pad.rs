use super::{Cast, Made, Op, Reads, Samples, SamplesOf, rearrange};
use crate::Error;
use crate::graph::Var;
use crate::graph::gather::{Around, Window};
use crate::graph::lowering::Lowering;
use crate::graph::view::View;

/// Constant padding, or cropping where it is negative.
#[derive(Debug)]
pub(super) struct Pad {
    /// Before and after the last axis, then the axis before it, and so on.
    pub(super) pad: Vec<isize>,
    pub(super) value: f32,
}

impl Var {
    /// Pads with `value`, like torch's `pad` in mode `constant`. `pad` holds the numbers of elements before and after
    /// the last axis, then those of the axis before it, and so on. Negative numbers crop.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let x = Graph::new().input("x", [8, 3, 28, 28]);
    /// assert_eq!(x.pad(&[1, 2, 0, -1], 0.0).shape(), [8, 3, 27, 31]);
    /// ```
    ///
    /// Refused ([`Error::Shape`]) unless `pad` has two numbers for each of the last axes, and if nothing of an axis
    /// would be left.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.nn.functional.pad.html>.
    #[must_use]
    pub fn pad(&self, pad: &[isize], value: f32) -> Var {
        self.unary(Pad { pad: pad.to_vec(), value })
    }
}

impl Pad {
    /// Number of elements before and after each axis.
    fn each(&self, rank: usize) -> Vec<[isize; 2]> {
        let mut each = vec![[0; 2]; rank];
        for (axis, pair) in each.iter_mut().rev().zip(self.pad.chunks_exact(2)) {
            *axis = [pair[0], pair[1]];
        }
        each
    }

    /// The part of the input that remains after cropping.
    fn kept(&self, view: &View) -> View {
        let mut kept = view.clone();
        for (axis, [before, after]) in self.each(view.shape.len()).into_iter().enumerate() {
            let cut = |pad: isize| if pad < 0 { pad.unsigned_abs() } else { 0 };
            kept.offset += cut(before) * kept.strides[axis];
            kept.shape[axis] -= cut(before) + cut(after);
        }
        kept
    }

    fn is_cut(&self) -> bool {
        self.pad.iter().any(|pad| *pad < 0)
    }
}

impl Op for Pad {
    fn kind(&self) -> &'static str {
        "pad"
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let shape = inputs[0];
        let refuse = |expected| Err(Error::Shape { layer: layer.into(), expected, got: shape.to_vec() });
        if !self.pad.len().is_multiple_of(2) || self.pad.len() > 2 * shape.len() {
            return refuse(format!("a pair of numbers for each of the last axes, as {:?} are", self.pad));
        }
        let mut out = Vec::with_capacity(shape.len());
        for (&extent, [before, after]) in shape.iter().zip(self.each(shape.len())) {
            let cut = |pad: isize| if pad < 0 { pad.unsigned_abs() } else { 0 };
            let left = extent.checked_sub(cut(before).saturating_add(cut(after))).filter(|left| *left > 0);
            let Some(left) = left else {
                return refuse(format!("an element that is left of each axis by pad {:?}", self.pad));
            };
            out.push(left.saturating_add_signed(before.max(0)).saturating_add_signed(after.max(0)));
        }
        Ok(out)
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        match of.kept() {
            Samples::Along(place) if self.each(of.shape.len())[place.axis] != [0; 2] => Samples::Mixed,
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
        let from = self.kept(&lowering.argument_view(id, 0));
        let to = lowering.define(id);
        let to = View::packed(to, lowering.shape(id), lowering.order(id));
        let start = |[before, _]: [isize; 2]| Window { start: before.max(0), step: 1 };
        let windows: Vec<Window> = self.each(to.shape.len()).into_iter().map(start).collect();
        lowering.emit_placed(&lowering.name(id), &from, &to, &windows, Around::Value(self.value));
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((to, adds)) = lowering.gradient_view_into(id, 0) else { return Ok(()) };
        let layer = lowering.name(id);
        let mut dy = View::packed(lowering.gradient(id), lowering.shape(id), lowering.order(id));
        let each = self.each(to.shape.len());
        if self.is_cut() {
            // Cropped elements get no gradient.
            let windows: Vec<Window> =
                each.iter().map(|[before, _]| Window { start: before.saturating_neg(), step: 1 }).collect();
            let around = if adds { Around::Sum } else { Around::Value(0.0) };
            lowering.emit_placed(&layer, &dy, &to, &windows, around);
            return Ok(());
        }
        for (axis, [before, _]) in each.into_iter().enumerate() {
            dy.offset += before.unsigned_abs() * dy.strides[axis];
            dy.shape[axis] = to.shape[axis];
        }
        rearrange(lowering, &layer, &dy, &to, adds);
        Ok(())
    }
}
