use super::{Cast, Op, Reads, Samples, SamplesOf, dims};
use crate::Error;
use crate::graph::Var;
use crate::graph::lowering::Lowering;
use crate::graph::samples::Place;
use crate::graph::view::View;

/// Changes the shape and keeps the row-major order of elements. A view if rows remain whole quads, otherwise a copy.
#[derive(Debug)]
enum Reshape {
    /// To this shape; one extent can be -1.
    To(Vec<isize>),
    /// Merges the axes from one to another.
    Flatten([isize; 2]),
    /// Removes all axes of extent 1, or this one if its extent is 1.
    Squeeze(Option<isize>),
    /// Inserts an axis of extent 1.
    Unsqueeze(isize),
    /// Splits an axis into several; one extent can be -1.
    Unflatten(isize, Vec<isize>),
}

impl Var {
    /// The same elements in row-major order with another shape, like torch's `reshape`. One extent can be -1, which
    /// is inferred. If a graph is compiled for several batch sizes, use -1 for the batch.
    ///
    /// Needs no dispatch if the rows of the last axis stay whole or are split at multiples of 4; otherwise one copy.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let x = Graph::new().input("x", [8, 50, 128]);
    /// assert_eq!(x.reshape(&[-1, 50, 4, 32]).shape(), [8, 50, 4, 32]);
    /// assert_eq!(x.flatten_dims(0, 1).shape(), [400, 128]);
    /// assert_eq!(x.unsqueeze(1).shape(), [8, 1, 50, 128]);
    /// ```
    ///
    /// Refused ([`Error::Shape`], [`Error::Constant`]) unless both shapes have the same number of elements.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.reshape.html>.
    #[must_use]
    pub fn reshape(&self, shape: &[isize]) -> Var {
        self.unary(Reshape::To(shape.to_vec()))
    }

    /// Merges the axes from `start_dim` to `end_dim`, inclusive, like torch's `flatten`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.flatten.html>.
    #[must_use]
    pub fn flatten_dims(&self, start_dim: isize, end_dim: isize) -> Var {
        self.unary(Reshape::Flatten([start_dim, end_dim]))
    }

    /// Removes all axes of extent 1, or axis `dim` if its extent is 1, like torch's `squeeze`. If no axis is left,
    /// the shape is `[1]`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.squeeze.html>.
    #[must_use]
    pub fn squeeze(&self, dim: impl Into<Option<isize>>) -> Var {
        self.unary(Reshape::Squeeze(dim.into()))
    }

    /// Inserts an axis of extent 1, which becomes axis `dim` of the result, like torch's `unsqueeze`.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.unsqueeze.html>.
    #[must_use]
    pub fn unsqueeze(&self, dim: isize) -> Var {
        self.unary(Reshape::Unsqueeze(dim))
    }

    /// Splits axis `dim` into several, like torch's `unflatten`. One extent can be -1. Unlike [`Var::reshape`], it
    /// keeps all other axes, so any of them can be the batch.
    ///
    /// ```
    /// use gradus::graph::Graph;
    ///
    /// let x = Graph::new().input("x", [8, 50, 128]).transpose(0, 1);
    /// assert_eq!(x.unflatten(-1, &[4, -1]).shape(), [50, 8, 4, 32]);
    /// ```
    ///
    /// Refused ([`Error::Shape`], [`Error::Constant`]) unless the axis has as many elements.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.unflatten.html>.
    #[must_use]
    pub fn unflatten(&self, dim: isize, sizes: &[isize]) -> Var {
        self.unary(Reshape::Unflatten(dim, sizes.to_vec()))
    }
}

fn is_along(samples: Samples, axis: usize) -> bool {
    matches!(samples, Samples::Along(place) if place.axis == axis)
}

/// `shape` with -1 replaced so that it has as many elements as `from`.
fn filled(layer: &str, shape: &[isize], from: &[usize]) -> Result<Vec<usize>, Error> {
    let what = || format!("{layer}: shape");
    if let Some(extent) = shape.iter().find(|extent| **extent < -1 || **extent == 0) {
        return Err(Error::constant(what(), "extents of at least 1, or -1 for what is left", extent));
    }
    if shape.iter().filter(|extent| **extent == -1).count() > 1 {
        let allowed = "extents of which at most one is -1";
        return Err(Error::constant(what(), allowed, format!("{shape:?}")));
    }
    let len: usize = from.iter().product();
    let known = shape.iter().filter(|extent| **extent != -1);
    let known = known.fold(1, |len: usize, extent| len.saturating_mul(extent.unsigned_abs()));
    let fits = if shape.contains(&-1) { len.is_multiple_of(known) } else { len == known };
    if !fits {
        let expected = format!("a shape with the elements of {shape:?}");
        return Err(Error::Shape { layer: layer.into(), expected, got: from.to_vec() });
    }
    let extent = |extent: &isize| if *extent == -1 { len / known } else { extent.unsigned_abs() };
    Ok(dims::or_one(shape.iter().map(extent).collect()))
}

impl Op for Reshape {
    fn kind(&self) -> &'static str {
        match self {
            Self::To(_) => "reshape",
            Self::Flatten(_) => "flatten",
            Self::Squeeze(_) => "squeeze",
            Self::Unsqueeze(_) => "unsqueeze",
            Self::Unflatten(..) => "unflatten",
        }
    }

    fn cast(&self) -> Cast {
        Cast::AsInputs
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        let mut shape = inputs[0].to_vec();
        match *self {
            Self::To(ref to) => return filled(layer, to, &shape),
            Self::Flatten([start, end]) => {
                let first = dims::axis(layer, "start_dim", start, &shape)?;
                let last = dims::axis(layer, "end_dim", end, &shape)?;
                if last < first {
                    let allowed = format!("not before start_dim {start} for {shape:?}");
                    return Err(Error::constant(format!("{layer}: end_dim"), allowed, end));
                }
                let joined = shape[first..=last].iter().product();
                shape.splice(first..=last, [joined]);
            }
            Self::Squeeze(None) => shape.retain(|extent| *extent != 1),
            Self::Squeeze(Some(dim)) => {
                let axis = dims::axis(layer, "dim", dim, &shape)?;
                if shape[axis] == 1 {
                    shape.remove(axis);
                }
            }
            Self::Unsqueeze(dim) => {
                let axis = dims::among(layer, "dim", dim, shape.len() + 1, &shape)?;
                shape.insert(axis, 1);
            }
            Self::Unflatten(dim, ref sizes) => {
                let axis = dims::axis(layer, "dim", dim, &shape)?;
                let sizes = filled(layer, sizes, &shape[axis..=axis])?;
                shape.splice(axis..=axis, sizes);
            }
        }
        Ok(dims::or_one(shape))
    }

    fn samples(&self, of: &SamplesOf<'_>) -> Samples {
        let (from, to) = (of.inputs[0].1, of.shape);
        let axis_of = |dim| dims::axis("", "", dim, from).unwrap_or_default();
        // The axes after those that change are shifted by the difference in rank.
        let behind = |place: Place| Some(Place { axis: place.axis + to.len() - from.len(), ..place });
        match *self {
            Self::Unsqueeze(dim) => {
                let new = dims::axis("", "", dim, to).unwrap_or_default();
                of.moved(|place| if place.axis < new { Some(place) } else { behind(place) })
            }
            Self::Squeeze(Some(dim)) if to.len() < from.len() => of.moved(|place| match place.axis {
                axis if axis < axis_of(dim) => Some(place),
                axis => (axis > axis_of(dim)).then_some(Place { axis: axis - 1, ..place }),
            }),
            Self::Flatten([start, end]) => {
                let (first, last) = (axis_of(start), axis_of(end));
                of.moved(|place| match place.axis {
                    axis if axis < first => Some(place),
                    axis if axis > last => Some(Place { axis: axis + first - last, ..place }),
                    axis => {
                        let inner = place.inner * from[axis + 1..=last].iter().product::<usize>();
                        Some(Place { axis: first, inner })
                    }
                })
            }
            Self::Unflatten(dim, _)
                if of.inputs.iter().all(|(samples, _)| !is_along(*samples, axis_of(dim))) =>
            {
                of.moved(|place| if place.axis < axis_of(dim) { Some(place) } else { behind(place) })
            }
            _ => of.reshaped(),
        }
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let shape = lowering.shape(id).to_vec();
        if dims::define_moved(lowering, id, |from| from.reshaped(&shape)) {
            return Ok(());
        }
        let from = lowering.argument_view(id, 0);
        let to = lowering.define(id);
        let to = View::packed(to, &shape, lowering.order(id));
        lowering.emit_reshaped(&lowering.name(id), &from, &to, false);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let Some((to, adds)) = lowering.gradient_view_into(id, 0) else { return Ok(()) };
        let from = View::packed(lowering.gradient(id), lowering.shape(id), lowering.order(id));
        lowering.emit_reshaped(&lowering.name(id), &from, &to, adds);
        Ok(())
    }
}
