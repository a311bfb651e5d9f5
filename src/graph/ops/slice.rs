use super::{Cast, Op, Reads, Samples, SamplesOf, dims, rearrange};
use crate::Error;
use crate::graph::Var;
use crate::graph::gather::{Around, Window};
use crate::graph::lowering::Lowering;
use crate::graph::samples::Place;
use crate::graph::view::View;

/// Elements of one axis at equal distances. A view if no quad is cut, otherwise a copy.
#[derive(Debug)]
struct Slice {
    dim: isize,
    cut: Cut,
}

#[derive(Debug)]
enum Cut {
    /// As in Python: negative indices count from the end, and out-of-range indices are clamped.
    Range { start: isize, end: isize, step: usize },
    /// Exactly this range, which must exist.
    Narrow { start: isize, length: usize },
    /// One element; the axis is removed.
    Select { index: isize },
    /// Piece `number` of `count` pieces of `size` elements; the last can be shorter.
    Piece { size: usize, number: usize, count: usize },
    /// Piece `number` of pieces with these sizes.
    Section { sizes: Vec<usize>, number: usize },
    /// Piece `number` of at most `of` pieces of equal size, except the last. `count` is their number when the graph
    /// was built.
    Chunk { of: usize, number: usize, count: usize },
}

/// Sizes for [`Var::split`]: one for all pieces, or one for each.
///
/// ```
/// use gradus::graph::Graph;
///
/// let x = Graph::new().input("x", [2, 10]);
/// let equal: Vec<_> = x.split(4, 1).iter().map(|part| part.shape()[1]).collect();
/// let given: Vec<_> = x.split(vec![3, 7], 1).iter().map(|part| part.shape()[1]).collect();
/// assert_eq!((equal, given), (vec![4, 4, 2], vec![3, 7]));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SplitSizes {
    /// All pieces have this size, except the last, which is the remainder.
    Each(usize),
    /// The size of each piece. They must add up to the axis.
    Sections(Vec<usize>),
}

impl From<usize> for SplitSizes {
    fn from(size: usize) -> Self {
        Self::Each(size)
    }
}

impl From<&[usize]> for SplitSizes {
    fn from(sizes: &[usize]) -> Self {
        Self::Sections(sizes.to_vec())
    }
}

impl From<Vec<usize>> for SplitSizes {
    fn from(sizes: Vec<usize>) -> Self {
        Self::Sections(sizes)
    }
}

impl<const N: usize> From<[usize; N]> for SplitSizes {
    fn from(sizes: [usize; N]) -> Self {
        Self::Sections(sizes.to_vec())
    }
}

impl Var {
    /// The elements `start`, `start + step`, .. before `end` of axis `dim`, like torch's `x[.., start:end:step]`.
    /// Negative indices count from the end; out-of-range indices are clamped, so [`isize::MAX`] means the end.
    ///
    /// Needs no dispatch, unless the innermost axis in memory (usually the last) is cut within a quad of four
    /// elements or has a step; then it is a copy.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let x = Graph::new().input("x", [8, 10, 32]);
    /// assert_eq!(x.slice(1, 2, -1, 3).shape(), [8, 3, 32]);
    /// assert_eq!(x.narrow(2, 4, 8).shape(), [8, 10, 8]);
    /// assert_eq!(x.select(1, -1).shape(), [8, 32]);
    /// ```
    /// Refused ([`Error::Constant`], [`Error::Shape`]) for a step of 0, and if no element is left.
    /// It is refused ([`Error::Constant`], [`Error::Shape`]) for a step of 0 and where nothing is left.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/tensor_view.html>.
    #[must_use]
    pub fn slice(&self, dim: isize, start: isize, end: isize, step: usize) -> Var {
        self.unary(Slice { dim, cut: Cut::Range { start, end, step } })
    }

    /// The `length` elements of axis `dim` from `start` on (negative counts from the end), like torch's `narrow`.
    /// Like [`Var::slice`], but refused unless all of them exist.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.narrow.html>.
    #[must_use]
    pub fn narrow(&self, dim: isize, start: isize, length: usize) -> Var {
        self.unary(Slice { dim, cut: Cut::Narrow { start, length } })
    }

    /// Element `index` of axis `dim` (negative counts from the end), without that axis, like torch's `select`. For a
    /// one-dimensional value the result has the shape `[1]`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.select.html>.
    #[must_use]
    pub fn select(&self, dim: isize, index: isize) -> Var {
        self.unary(Slice { dim, cut: Cut::Select { index } })
    }

    /// Splits axis `dim` into consecutive pieces, like torch's `split`: of one size, with a last piece for the
    /// remainder; or of the given sizes, which must add up to the axis. Each piece is a [`Var::slice`].
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let x = Graph::new().input("x", [8, 10]);
    /// let shapes = |parts: Vec<gradus::graph::Var>| parts.iter().map(|part| part.shape()[1]).collect::<Vec<_>>();
    /// assert_eq!(shapes(x.split(4, -1)), [4, 4, 2]);
    /// assert_eq!(shapes(x.split([1, 7, 2], -1)), [1, 7, 2]);
    /// assert_eq!(shapes(x.chunk(4, -1)), [3, 3, 3, 1]);
    /// ```
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.split.html>.
    #[must_use]
    pub fn split(&self, sizes: impl Into<SplitSizes>, dim: isize) -> Vec<Var> {
        let piece = |cut| self.unary(Slice { dim, cut });
        match sizes.into() {
            SplitSizes::Each(size) => {
                let count = self.extent(dim).div_ceil(size.max(1)).max(1);
                (0..count).map(|number| piece(Cut::Piece { size, number, count })).collect()
            }
            SplitSizes::Sections(sizes) => {
                let numbers = 0..sizes.len().max(1);
                numbers.map(|number| piece(Cut::Section { sizes: sizes.clone(), number })).collect()
            }
        }
    }

    /// Splits axis `dim` into at most `chunks` consecutive pieces of equal size, except the last, like torch's
    /// `chunk`: 7 elements in 5 chunks give 4 pieces, of 2, 2, 2 and 1. Each piece is a [`Var::slice`].
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.chunk.html>.
    #[must_use]
    pub fn chunk(&self, chunks: usize, dim: isize) -> Vec<Var> {
        let extent = self.extent(dim);
        let count = extent.div_ceil(extent.div_ceil(chunks.max(1)).max(1)).max(1);
        let piece = |number| self.unary(Slice { dim, cut: Cut::Chunk { of: chunks, number, count } });
        (0..count).map(piece).collect()
    }

    /// The extent of an axis, or 0 if there is no such axis, which the op then refuses.
    fn extent(&self, dim: isize) -> usize {
        let shape = self.shape();
        dims::axis("", "", dim, &shape).map_or(0, |axis| shape[axis])
    }
}

/// The selected elements of an axis: the first, the distance between them, and their number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Taken {
    axis: usize,
    start: usize,
    step: usize,
    count: usize,
}

impl Slice {
    fn taken(&self, layer: &str, shape: &[usize]) -> Result<Taken, Error> {
        let axis = dims::axis(layer, "dim", self.dim, shape)?;
        let extent = shape[axis];
        let refuse = |what: &str, allowed: String, value: String| {
            Err(Error::constant(format!("{layer}: {what}"), format!("{allowed} for {shape:?}"), value))
        };
        let mismatch =
            |expected: String| Err(Error::Shape { layer: layer.into(), expected, got: shape.to_vec() });
        // For a negative index, which counts from the end.
        let from_end = |index: isize| if index < 0 { index.saturating_add_unsigned(extent) } else { index };
        let held = |index: isize| from_end(index).max(0).unsigned_abs().min(extent);
        let taken = |start, count| Ok(Taken { axis, start, step: 1, count });
        match self.cut {
            Cut::Range { step: 0, .. } => refuse("step", "at least 1".into(), "0".into()),
            Cut::Range { start, end, step } => {
                let (first, last) = (held(start), held(end));
                if first >= last {
                    let dim = self.dim;
                    return mismatch(format!("at least one element from {start} to {end} along dim {dim}"));
                }
                let count = (last - first).div_ceil(step);
                Ok(Taken { axis, start: first, step: if count == 1 { 1 } else { step }, count })
            }
            Cut::Narrow { start, length } => {
                let first = from_end(start);
                let most = isize::try_from(extent).unwrap_or(isize::MAX);
                if !(0..most).contains(&first) {
                    return refuse("start", format!("in [-{extent}, {}]", most - 1), start.to_string());
                }
                let first = first.unsigned_abs();
                if length == 0 || length > extent - first {
                    let allowed = format!("in [1, {}] from {start} on", extent - first);
                    return refuse("length", allowed, length.to_string());
                }
                taken(first, length)
            }
            Cut::Select { index } => match from_end(index) {
                place if place >= 0 && place.unsigned_abs() < extent => taken(place.unsigned_abs(), 1),
                _ => refuse("index", format!("in [-{extent}, {}]", extent - 1), index.to_string()),
            },
            Cut::Piece { size: 0, .. } => refuse("split_size", "at least 1".into(), "0".into()),
            Cut::Piece { size, number, count } => match extent.div_ceil(size) {
                pieces if pieces == count => taken(number * size, size.min(extent - number * size)),
                _ => mismatch(format!("{count} pieces of {size} along dim {}", self.dim)),
            },
            Cut::Section { ref sizes, number } => {
                let all = sizes.iter().fold(0, |all: usize, size| all.saturating_add(*size));
                if all != extent || sizes.contains(&0) {
                    let dim = self.dim;
                    return mismatch(format!(
                        "pieces of at least 1 that are dim {dim} together, as {sizes:?}"
                    ));
                }
                taken(sizes[..number].iter().sum(), sizes[number])
            }
            Cut::Chunk { of: 0, .. } => refuse("chunks", "at least 1".into(), "0".into()),
            Cut::Chunk { of, number, count } => {
                let size = extent.div_ceil(of);
                match extent.div_ceil(size) {
                    chunks if chunks == count => taken(number * size, size.min(extent - number * size)),
                    _ => mismatch(format!("{count} chunks along dim {}", self.dim)),
                }
            }
        }
    }

    fn selects(&self) -> bool {
        matches!(self.cut, Cut::Select { .. })
    }

    fn taken_of(&self, lowering: &Lowering, id: usize) -> Taken {
        let taken = self.taken("", lowering.input_shape(id, 0));
        taken.expect("it was checked when the shape was inferred")
    }

    /// The node's value with `rank` axes: a removed axis has extent 1 again.
    fn with_axis(taken: Taken, mut view: View, rank: usize) -> View {
        let axis = taken.axis;
        if view.shape.len() < rank {
            view.shape.insert(axis, 1);
            view.strides.insert(axis, 0);
            view.lanes += usize::from(view.lanes >= axis);
        }
        view
    }
}

/// The selected elements, even if quads are cut. For reading only.
fn cut(from: &View, taken: Taken) -> View {
    let Taken { axis, start, step, count } = taken;
    let mut view = from.clone();
    view.offset += start * view.strides[axis];
    view.strides[axis] *= step;
    view.shape[axis] = count;
    view
}

/// The selected elements as a view in whole quads, without the axis if it is `dropped`.
fn cut_in_quads(from: &View, taken: Taken, dropped: bool) -> Option<View> {
    let Taken { axis, start, step, count } = taken;
    let end = start + count;
    let is_whole = start % 4 == 0 && step == 1 && (end % 4 == 0 || end == from.shape[axis]);
    let is_spread = from.strides[axis] == 0;
    if axis == from.lanes && !is_whole && !is_spread {
        return None;
    }
    let mut view = cut(from, taken);
    if dropped && view.shape.len() > 1 {
        if axis == view.lanes {
            // If the lanes have extent 1, any other axis of extent 1 can be the lanes.
            let one = (0..view.shape.len()).rev().find(|&other| other != axis && view.shape[other] == 1)?;
            view.lanes = one;
        }
        view.shape.remove(axis);
        view.strides.remove(axis);
        view.lanes -= usize::from(view.lanes > axis);
    }
    Some(view)
}

impl Op for Slice {
    fn kind(&self) -> &'static str {
        match self.cut {
            Cut::Range { .. } => "slice",
            Cut::Narrow { .. } => "narrow",
            Cut::Select { .. } => "select",
            Cut::Piece { .. } | Cut::Section { .. } => "split",
            Cut::Chunk { .. } => "chunk",
        }
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let taken = self.taken(layer, inputs[0])?;
        let mut shape = inputs[0].to_vec();
        if self.selects() {
            shape.remove(taken.axis);
        } else {
            shape[taken.axis] = taken.count;
        }
        Ok(dims::or_one(shape))
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        let shape = of.inputs[0].1;
        let Ok(axis) = dims::axis("", "", self.dim, shape) else { return Samples::Mixed };
        // Batches of other sizes are selected as a whole only if no number limits them.
        let is_whole = matches!(self.cut, Cut::Range { start: 0, end: isize::MAX, step: 1 });
        of.moved(|place| match place.axis {
            own if own == axis => is_whole.then_some(place),
            own => Some(Place { axis: own - usize::from(self.selects() && own > axis), ..place }),
        })
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let taken = self.taken_of(lowering, id);
        if dims::define_moved(lowering, id, |from| cut_in_quads(from, taken, self.selects())) {
            return Ok(());
        }
        let from = cut(&lowering.argument_view(id, 0), taken);
        let to = lowering.define(id);
        let to = View::packed(to, lowering.shape(id), lowering.order(id));
        rearrange(lowering, &lowering.name(id), &from, &Self::with_axis(taken, to, from.shape.len()), false);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let taken = self.taken_of(lowering, id);
        let Some((to, adds)) = lowering.gradient_view_into(id, 0) else { return Ok(()) };
        let dy = View::packed(lowering.gradient(id), lowering.shape(id), lowering.order(id));
        let mut windows = vec![Window::WHOLE; to.shape.len()];
        let start = isize::try_from(taken.start).expect("places are below 2^31");
        windows[taken.axis] = Window { start, step: taken.step };
        let around = if adds { Around::Sum } else { Around::Value(0.0) };
        lowering.emit_placed(
            &lowering.name(id),
            &Self::with_axis(taken, dy, to.shape.len()),
            &to,
            &windows,
            around,
        );
        Ok(())
    }
}
