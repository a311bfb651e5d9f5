//! Dimensions as in torch: negative ones count from the last.

use crate::Error;
use crate::graph::lowering::Lowering;
use crate::graph::view::View;

/// The axis for a dimension of `shape`.
///
/// # Errors
/// [`Error::Constant`], which names `layer` and the parameter `what`.
pub(super) fn axis(layer: &str, what: &str, dim: isize, shape: &[usize]) -> Result<usize, Error> {
    among(layer, what, dim, shape.len(), shape)
}

/// Like [`axis`], for a dimension among `rank` axes of a result computed from `shape`.
pub(super) fn among(
    layer: &str,
    what: &str,
    dim: isize,
    rank: usize,
    shape: &[usize],
) -> Result<usize, Error> {
    let from_end = if dim < 0 { rank } else { 0 };
    let axis = from_end.checked_add_signed(dim).filter(|&axis| axis < rank);
    axis.ok_or_else(|| {
        let allowed = match rank {
            0 => format!("absent for {shape:?}"),
            _ => format!("in [-{rank}, {}] for {shape:?}", rank - 1),
        };
        Error::constant(format!("{layer}: {what}"), allowed, dim)
    })
}

/// Distinct axes of `shape`, in the given order.
pub(super) fn axes(layer: &str, what: &str, dims: &[isize], shape: &[usize]) -> Result<Vec<usize>, Error> {
    let mut axes = Vec::with_capacity(dims.len());
    for &dim in dims {
        let axis = axis(layer, what, dim, shape)?;
        if axes.contains(&axis) {
            let allowed = format!("an axis of {shape:?} that is named once");
            return Err(Error::constant(format!("{layer}: {what}"), allowed, dim));
        }
        axes.push(axis);
    }
    Ok(axes)
}

/// A shape without axes becomes `[1]`.
pub(super) fn or_one(shape: Vec<usize>) -> Vec<usize> {
    if shape.is_empty() { vec![1] } else { shape }
}

/// Makes a node the view that `moved` computes from its input, if the same view of the input's gradient exists.
pub(super) fn define_moved(
    lowering: &mut Lowering,
    id: usize,
    moved: impl Fn(&View) -> Option<View>,
) -> bool {
    let (value, gradient) = (lowering.argument_view(id, 0), lowering.gradient_layout(id, 0));
    let (Some(value), Some(gradient)) = (moved(&value), moved(&gradient)) else { return false };
    lowering.define_views(id, value, gradient);
    true
}
