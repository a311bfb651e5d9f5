use super::{Joins, Made, Op, Reads, Samples, SamplesOf, dims};
use crate::Error;
use crate::graph::Var;
use crate::graph::fold::{Fold, fold};
use crate::graph::lowering::elementwise::{Program, Target};
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::samples::Place;
use crate::graph::shape::Matrix;
use crate::graph::view::View;

const INFINITY: &str = include_str!("../../../shaders/shared/infinity.wgsl");
const LARGEST_AND_INFINITY: &str = concat!(
    include_str!("../../../shaders/shared/largest.wgsl"),
    include_str!("../../../shaders/shared/infinity.wgsl")
);

/// The largest index up to which f32 represents all indices exactly.
const MOST_INDEX: usize = 1 << 24;

/// A reduction over axes.
#[derive(Debug)]
struct Reduce {
    kind: Kind,
    /// The axes; empty means all.
    dims: Vec<isize>,
    keepdim: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Sum,
    Mean,
    Var { correction: usize },
    Max,
    Min,
    ArgMax,
    ArgMin,
}

impl Var {
    /// Sums over the axes `dims` (negative counts from the last), or over all axes if `dims` is empty, in a fixed
    /// order, like torch's `sum`. With `keepdim`, reduced axes remain with extent 1. A result without axes has the
    /// shape `[1]`.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let x = Graph::new().input("x", [8, 3, 28, 28]);
    /// assert_eq!(x.sum_dim(&[-2, -1], false).shape(), [8, 3]);
    /// assert_eq!(x.mean_dim(&[0, 2, 3], true).shape(), [1, 3, 1, 1]);
    /// assert_eq!(x.amax(&[1], false).shape(), [8, 28, 28]);
    /// ```
    ///
    /// Refused ([`Error::Constant`]) unless `dims` names axes, each once.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.sum.html>.
    #[must_use]
    pub fn sum_dim(&self, dims: &[isize], keepdim: bool) -> Var {
        self.reduce(Kind::Sum, dims, keepdim)
    }

    /// Means over the axes `dims`, like torch's `mean`; see [`Var::sum_dim`].
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.mean.html>.
    #[must_use]
    pub fn mean_dim(&self, dims: &[isize], keepdim: bool) -> Var {
        self.reduce(Kind::Mean, dims, keepdim)
    }

    /// Variances over the axes `dims`, like torch's `var`: the sum of squared differences to the mean, divided by the
    /// number of elements minus `correction`. torch's default correction is 1; its normalisation layers use 0. See
    /// [`Var::sum_dim`].
    ///
    /// Refused ([`Error::Constant`]) unless there are more elements than `correction`, where torch returns NaN.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.var.html>.
    #[must_use]
    pub fn var_dim(&self, dims: &[isize], correction: usize, keepdim: bool) -> Var {
        self.reduce(Kind::Var { correction }, dims, keepdim)
    }

    /// Maxima over the axes `dims`, like torch's `amax`; NaN if any element is. The gradient is divided equally
    /// between all elements equal to the maximum. See [`Var::sum_dim`].
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.amax.html>.
    #[must_use]
    pub fn amax(&self, dims: &[isize], keepdim: bool) -> Var {
        self.reduce(Kind::Max, dims, keepdim)
    }

    /// Minima over the axes `dims`, like torch's `amin`; NaN if any element is. The gradient is divided equally
    /// between all elements equal to the minimum. See [`Var::sum_dim`].
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.amin.html>.
    #[must_use]
    pub fn amin(&self, dims: &[isize], keepdim: bool) -> Var {
        self.reduce(Kind::Min, dims, keepdim)
    }

    /// Indices of the maxima along axis `dim`, or among all elements in row-major order, like torch's `argmax`: the
    /// first of equal maxima, or the first NaN. They are f32 numbers, not labels, and have no gradient.
    ///
    /// Refused ([`Error::Constant`], [`Error::Shape`]) for more than 2^24 elements, whose indices f32 cannot
    /// represent.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.argmax.html>.
    #[must_use]
    pub fn argmax(&self, dim: impl Into<Option<isize>>, keepdim: bool) -> Var {
        self.reduce(Kind::ArgMax, dim.into().as_slice(), keepdim)
    }

    /// Indices of the minima, like torch's `argmin`; see [`Var::argmax`].
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.argmin.html>.
    #[must_use]
    pub fn argmin(&self, dim: impl Into<Option<isize>>, keepdim: bool) -> Var {
        self.reduce(Kind::ArgMin, dim.into().as_slice(), keepdim)
    }

    fn reduce(&self, kind: Kind, dims: &[isize], keepdim: bool) -> Var {
        self.unary(Reduce { kind, dims: dims.to_vec(), keepdim })
    }
}

impl Kind {
    /// For the maxima or the minima.
    fn extreme(largest: bool) -> Fold {
        Fold {
            name: if largest { "max" } else { "min" },
            functions: LARGEST_AND_INFINITY,
            neutral: if largest { "-infinity()" } else { "infinity()" },
            join: if largest { "larger(a, b)" } else { "smaller(a, b)" },
            ..Fold::sum()
        }
    }
}

impl Reduce {
    /// The reduced axes, in order.
    fn axes(&self, layer: &str, shape: &[usize]) -> Result<Vec<usize>, Error> {
        let mut axes = dims::axes(layer, "dim", &self.dims, shape)?;
        axes.sort_unstable();
        Ok(if axes.is_empty() { (0..shape.len()).collect() } else { axes })
    }

    /// Number of elements reduced to each result.
    fn count(&self, lowering: &Lowering, id: usize) -> usize {
        let shape = lowering.input_shape(id, 0);
        self.axes_of(lowering, id).into_iter().map(|axis| shape[axis]).product()
    }

    fn axes_of(&self, lowering: &Lowering, id: usize) -> Vec<usize> {
        self.axes("", lowering.input_shape(id, 0)).expect("they were checked when the shape was inferred")
    }

    /// A buffer with the layout of the result, and the rank of the input: reduced axes have extent 1.
    fn kept(&self, lowering: &Lowering, id: usize, of: Operand) -> View {
        let (rank, axes) = (lowering.input_shape(id, 0).len(), self.axes_of(lowering, id));
        let own = View::packed(of, lowering.shape(id), lowering.order(id));
        if own.shape.len() == rank && (self.keepdim || axes.len() == rank) {
            return own;
        }
        let mut view = View { shape: vec![1; rank], strides: vec![0; rank], lanes: rank - 1, ..own.clone() };
        let rest: Vec<usize> = (0..rank).filter(|axis| !axes.contains(axis)).collect();
        for (at, &axis) in rest.iter().enumerate() {
            (view.shape[axis], view.strides[axis]) = (own.shape[at], own.strides[at]);
        }
        if let Some(&lanes) = rest.get(own.lanes) {
            view.lanes = lanes;
        }
        view
    }

    /// The factor with which an element, or its square, enters the sum.
    fn scale(&self, lowering: &Lowering, id: usize) -> f32 {
        let count = self.count(lowering, id);
        match self.kind {
            Kind::Mean => 1.0 / count as f32,
            Kind::Var { correction } => 1.0 / (count - correction) as f32,
            _ => 1.0,
        }
    }

    /// Emits the gradient of each input element, from the quads of `inputs`.
    fn emit_slopes(
        &self,
        lowering: &mut Lowering,
        id: usize,
        slope: String,
        inputs: &[View],
        to: (View, bool),
    ) {
        let program = Program {
            name: format!("reduce_grad[{}]", self.kind()),
            body: String::new(),
            results: vec![slope],
            ..Program::copy()
        };
        let target = Target { view: to.0, adds: to.1 };
        lowering.emit_elementwise(&lowering.name(id), &program, inputs, &[target]);
    }

    fn forward_var(&self, lowering: &mut Lowering, id: usize, x: &View) {
        let (layer, len) = (lowering.name(id), lowering.matrix(id).len());
        let scale = 1.0 / self.count(lowering, id) as f32;
        let means = lowering.save(id, "means", len);
        let means = self.kept(lowering, id, means);
        let mean = Fold { finish: format!("total * {scale:?}f"), ..Fold::sum() };
        fold(lowering, &layer, &mean, &[x], &means, false);
        let y = lowering.define(id);
        let y = self.kept(lowering, id, y);
        let squares = Fold {
            name: "squares",
            brings: "(x0 - x1) * (x0 - x1)".into(),
            finish: format!("total * {:?}f", self.scale(lowering, id)),
            ..Fold::sum()
        };
        fold(lowering, &layer, &squares, &[x, &means], &y, false);
    }

    fn forward_place(&self, lowering: &mut Lowering, id: usize, x: &View) {
        let (layer, len) = (lowering.name(id), lowering.matrix(id).len());
        let extremes = lowering.scratch("extremes", len);
        let extremes = self.kept(lowering, id, extremes);
        fold(lowering, &layer, &Kind::extreme(self.kind == Kind::ArgMax), &[x], &extremes, false);
        let y = lowering.define(id);
        let y = self.kept(lowering, id, y);
        let first = Fold {
            name: "first",
            functions: INFINITY,
            neutral: "infinity()",
            brings: "select(infinity(), place, (x0 == x1) | (is_nan(x0) & is_nan(x1)))".into(),
            join: "min(a, b)",
            ..Fold::sum()
        };
        fold(lowering, &layer, &first, &[x, &extremes], &y, false);
    }

    fn backward_extreme(&self, lowering: &mut Lowering, id: usize, to: (View, bool)) {
        let layer = lowering.name(id);
        let x = lowering.argument_view(id, 0);
        let y = self.kept(lowering, id, lowering.result(id));
        let dy = self.kept(lowering, id, lowering.gradient(id));
        let ties = lowering.scratch("ties", Matrix::of(lowering.shape(id), lowering.order(id)).len());
        let ties = self.kept(lowering, id, ties);
        let count =
            Fold { name: "ties", brings: "select(vec4f(), vec4f(1.0), x0 == x1)".into(), ..Fold::sum() };
        fold(lowering, &layer, &count, &[&x, &y], &ties, false);
        // As in torch, in a line with NaN only the NaN elements have a gradient.
        let slope = "select(select(vec4f(), x2 / x3, x0 == x1), x1, is_nan(x1))";
        self.emit_slopes(lowering, id, slope.into(), &[x, y, dy, ties], to);
    }
}

impl Op for Reduce {
    fn kind(&self) -> &'static str {
        match self.kind {
            Kind::Sum => "sum",
            Kind::Mean => "mean",
            Kind::Var { .. } => "var",
            Kind::Max => "amax",
            Kind::Min => "amin",
            Kind::ArgMax => "argmax",
            Kind::ArgMin => "argmin",
        }
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let mut shape = inputs[0].to_vec();
        let axes = self.axes(layer, &shape)?;
        let count: usize = axes.iter().map(|&axis| shape[axis]).product();
        if let Kind::Var { correction } = self.kind
            && correction >= count
        {
            let allowed = format!("below the {count} elements of {shape:?} over {axes:?}");
            return Err(Error::constant(format!("{layer}: correction"), allowed, correction));
        }
        if matches!(self.kind, Kind::ArgMax | Kind::ArgMin) && count > MOST_INDEX {
            let expected = format!("at most {MOST_INDEX} elements over {axes:?}");
            return Err(Error::Shape { layer: layer.into(), expected, got: shape });
        }
        axes.iter().for_each(|&axis| shape[axis] = 1);
        if !self.keepdim {
            for &axis in axes.iter().rev() {
                shape.remove(axis);
            }
        }
        Ok(dims::or_one(shape))
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        let joins = match self.kind {
            Kind::Sum => Some(Joins::Sum),
            Kind::Mean => Some(Joins::Mean),
            _ => None,
        };
        let (samples, shape) = of.inputs[0];
        let axes = self.axes("", shape).unwrap_or_default();
        match samples {
            Samples::Along(Place { axis, .. }) if axes.contains(&axis) => {
                joins.map_or(Samples::Mixed, Samples::Joined)
            }
            Samples::Along(place) => {
                let before = axes.iter().filter(|&&axis| axis < place.axis).count();
                let gone = if self.keepdim { 0 } else { before };
                Samples::Along(Place { axis: place.axis - gone, ..place })
            }
            // A sum of sums, or of means, is again one.
            Samples::Joined(_) if joins.is_none() => Samples::Mixed,
            other => other,
        }
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn makes(&self) -> Made {
        Made::AsInputs
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let x = lowering.argument_view(id, 0);
        let what = match self.kind {
            Kind::Var { .. } => {
                self.forward_var(lowering, id, &x);
                return Ok(());
            }
            Kind::ArgMax | Kind::ArgMin => {
                self.forward_place(lowering, id, &x);
                return Ok(());
            }
            Kind::Sum => Fold::sum(),
            Kind::Mean => Fold { finish: format!("total * {:?}f", self.scale(lowering, id)), ..Fold::sum() },
            Kind::Max | Kind::Min => Kind::extreme(self.kind == Kind::Max),
        };
        let y = lowering.define(id);
        let y = self.kept(lowering, id, y);
        fold(lowering, &lowering.name(id), &what, &[&x], &y, false);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        if matches!(self.kind, Kind::ArgMax | Kind::ArgMin) {
            return Ok(());
        }
        let Some(to) = lowering.gradient_view_into(id, 0) else { return Ok(()) };
        let dy = self.kept(lowering, id, lowering.gradient(id));
        let scale = self.scale(lowering, id);
        match self.kind {
            Kind::Sum => self.emit_slopes(lowering, id, "x0".into(), &[dy], to),
            Kind::Mean => self.emit_slopes(lowering, id, format!("x0 * {scale:?}f"), &[dy], to),
            Kind::Var { .. } => {
                let means = self.kept(lowering, id, lowering.saved(id));
                let slope = format!("x2 * (x0 - x1) * {:?}f", 2.0 * scale);
                self.emit_slopes(lowering, id, slope, &[lowering.argument_view(id, 0), means, dy], to);
            }
            Kind::Max | Kind::Min => self.backward_extreme(lowering, id, to),
            Kind::ArgMax | Kind::ArgMin => {}
        }
        Ok(())
    }
}
