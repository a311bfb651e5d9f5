use super::product::{Factor, contract};
use super::split::Epilogue;
use super::{Anchor, Cast, Op, Reads, rearrange};
use crate::Error;
use crate::graph::Var;
use crate::graph::lowering::Lowering;
use crate::graph::shape::Matrix;
use crate::graph::view::{Order, View};

/// A matrix product, optionally batched.
#[derive(Debug)]
struct MatMul;

/// Maximum rank of a view that kernels can read directly.
const MAX_RANK: usize = 2 + super::product::MAX_AXES;

impl Var {
    /// Matrix product over the last two axes, like torch's `matmul`.
    ///
    /// `[.., M, K]` times `[.., K, N]` is `[.., M, N]`; the leading axes are broadcast. A one-dimensional left factor
    /// is a row, a one-dimensional `other` is a column, and that axis is removed from the result: `[K]` times `[..,
    /// K, N]` is `[.., N]`, and `[.., M, K]` times `[K]` is `[.., M]`. `[K]` times `[K]`, the inner product, is
    /// `[1]`. Inputs have at most 8 axes.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.matmul.html>.
    #[must_use]
    pub fn matmul(&self, other: &Var) -> Var {
        self.graph().push(MatMul, None, &[self, other], &[], None)
    }
}

/// The shape of `x` times `other`; or what `other` should have been.
fn shape_of(x: &[usize], other: &[usize]) -> Result<Vec<usize>, String> {
    if x.len().max(other.len()) > MAX_RANK {
        return Err(format!("at most {MAX_RANK} axes, as of the left factor {x:?}"));
    }
    let inner = x[x.len() - 1];
    let along = other.len().saturating_sub(2);
    if other[along] != inner {
        return Err(format!("[{inner}] or [.., {inner}, columns] for a left factor {x:?}"));
    }
    let (batch_of_x, batch) = (&x[..x.len().saturating_sub(2)], &other[..along]);
    let axes = batch_of_x.len().max(batch.len());
    let extent = |batch: &[usize], from_last: usize| batch.iter().rev().nth(from_last).copied().unwrap_or(1);
    let mut shape = Vec::new();
    for at in (0..axes).rev() {
        match (extent(batch_of_x, at), extent(batch, at)) {
            (a, b) if a == b || b == 1 => shape.push(a),
            (1, b) => shape.push(b),
            _ => return Err(format!("axes in front of the last two that broadcast with those of {x:?}")),
        }
    }
    shape.extend(x.len().checked_sub(2).map(|row| x[row]));
    shape.extend((other.len() > 1).then(|| other[other.len() - 1]));
    if shape.is_empty() {
        shape.push(1);
    }
    Ok(shape)
}

/// An input of a node, copied unless its quads lie along one of its last `axes`.
pub(super) fn readable(lowering: &mut Lowering, id: usize, input: usize, axes: usize) -> View {
    let view = lowering.argument_view(id, input);
    if let Some(view) = with_lanes_among_last(view, axes) {
        return view;
    }
    let packed = lowering.argument_copy(id, input, Order::Natural).of;
    View::packed(packed, lowering.input_shape(id, input), Order::Natural)
}

/// The view, if its lanes are among its last `axes` and its rank is supported. If the lanes have extent 1, any other
/// axis of extent 1 can serve as the lanes.
fn with_lanes_among_last(view: View, axes: usize) -> Option<View> {
    if view.shape.len() > MAX_RANK {
        return None;
    }
    let first = view.shape.len().saturating_sub(axes);
    if view.shape[view.lanes] == 1 {
        let lanes = (first..view.shape.len()).rev().find(|&axis| view.shape[axis] == 1)?;
        return Some(View { lanes, ..view });
    }
    (view.lanes >= first && view.strides[view.lanes] == 1).then_some(view)
}

/// Emits the gradient of an input of a node. `emit` writes or adds it where it is told, in memory whose quads lie
/// along one of the last `axes` of the input. Emits nothing if the input needs no gradient.
pub(super) fn gradient_into(
    lowering: &mut Lowering,
    id: usize,
    (input, axes): (usize, usize),
    emit: impl FnOnce(&mut Lowering, &View, Epilogue),
) {
    let writes = |accumulate: bool| Epilogue { accumulate, finish: None };
    let writable = |view: View| with_lanes_among_last(view, axes).is_some();
    if let Some((region, finish)) = lowering.finish_gradient((id, input), writable) {
        let region = with_lanes_among_last(region, axes).expect("it was asked for");
        return emit(lowering, &region, Epilogue { accumulate: false, finish: Some(finish) });
    }
    let Some((region, adds)) = lowering.gradient_view_into(id, input) else { return };
    if let Some(region) = with_lanes_among_last(region.clone(), axes) {
        return emit(lowering, &region, writes(adds));
    }
    let name = lowering.name(id);
    let len = Matrix::of(&region.shape, Order::Natural).len();
    let label = format!("gradient of an input of {name}");
    let scratch = lowering.value_as_input(id, input, &label, len);
    let packed = View::packed(scratch, &region.shape, Order::Natural);
    emit(lowering, &packed, writes(false));
    rearrange(lowering, &name, &packed, &region, adds);
}

/// The left factor. A one-dimensional value is a row.
fn left(view: &View) -> Factor {
    if view.shape.len() == 1 { Factor::row(view) } else { Factor::of(view) }
}

/// The right factor. A one-dimensional value is a column.
fn right(view: &View) -> Factor {
    if view.shape.len() == 1 { Factor::row(view).transposed() } else { Factor::of(view) }
}

/// The result of factors with these ranks.
fn made(view: &View, ranks: [usize; 2]) -> Factor {
    match ranks {
        [1, _] => Factor::row(view),
        [_, 1] => Factor::row(view).transposed(),
        _ => Factor::of(view),
    }
}

impl Op for MatMul {
    fn kind(&self) -> &'static str {
        "matmul"
    }

    fn cast(&self) -> Cast {
        Cast::Half
    }

    fn infer(&self, layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
        shape_of(inputs[0], inputs[1]).map_err(|expected| Error::Shape {
            layer: layer.into(),
            expected,
            got: inputs[1].to_vec(),
        })
    }

    fn reads(&self, _: usize) -> Reads {
        Reads::Strided
    }

    fn forward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let [x, other] = [0, 1].map(|input| readable(lowering, id, input, 2));
        let ranks = [x.shape.len(), other.shape.len()];
        let y = View::packed(lowering.define(id), lowering.shape(id), Order::Natural);
        let factors = [&left(&x), &right(&other), &made(&y, ranks)];
        let epilogue = Epilogue { accumulate: false, finish: lowering.finish(id) };
        contract(lowering, &lowering.name(id), factors, None, epilogue);
        Ok(())
    }

    fn backward(&self, lowering: &mut Lowering, id: usize) -> Result<(), Error> {
        let name = lowering.name(id);
        let ranks = [0, 1].map(|input| lowering.input_shape(id, input).len());
        let dy = made(&View::packed(lowering.gradient(id), lowering.shape(id), Order::Natural), ranks);
        gradient_into(lowering, id, (0, 2), |lowering, dx, epilogue| {
            let other = right(&readable(lowering, id, 1, 2)).transposed();
            contract(lowering, &name, [&dy, &other, &left(dx)], None, epilogue);
        });
        gradient_into(lowering, id, (1, 2), |lowering, dother, epilogue| {
            let x = left(&readable(lowering, id, 0, 2)).transposed();
            contract(lowering, &name, [&x, &dy, &right(dother)], None, epilogue);
        });
        Ok(())
    }

    fn anchor(&self, _: &Lowering, _: usize) -> Option<Anchor> {
        Some(Anchor { buffers: 4, lanes: 4 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_are_torchs() {
        for (x, other, want) in [
            (&[3, 4][..], &[4, 5][..], &[3, 5][..]),
            (&[4], &[4], &[1]),
            (&[4], &[4, 5], &[5]),
            (&[3, 4], &[4], &[3]),
            (&[4], &[2, 7, 4, 5], &[2, 7, 5]),
            (&[2, 7, 3, 4], &[4], &[2, 7, 3]),
            (&[3, 1, 5, 7], &[2, 7, 3], &[3, 2, 5, 3]),
            (&[5, 7], &[6, 1, 7, 3], &[6, 1, 5, 3]),
        ] {
            assert_eq!(shape_of(x, other).as_deref(), Ok(want), "{x:?} times {other:?}");
        }
    }

    #[test]
    fn what_does_not_fit_is_said_with_the_left_factor() {
        for (x, other, want) in [
            (&[3, 4][..], &[3, 4][..], "[4] or [.., 4, columns] for a left factor [3, 4]"),
            (&[4], &[5], "[4] or [.., 4, columns] for a left factor [4]"),
            (&[2, 3, 4], &[3, 4, 5], "axes in front of the last two that broadcast with those of [2, 3, 4]"),
            (&[1; 9], &[1, 1], "at most 8 axes, as of the left factor [1, 1, 1, 1, 1, 1, 1, 1, 1]"),
        ] {
            assert_eq!(shape_of(x, other).unwrap_err(), want);
        }
        assert!(shape_of(&[1, 1], &[1; 9]).is_err() && shape_of(&[1; 8], &[1; 8]).is_ok());
    }
}
