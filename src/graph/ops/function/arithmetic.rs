use super::function;
use crate::Error;
use crate::graph::Var;

/// The shape that shapes have together as torch broadcasts: aligned at their last axes, where an extent of 1, or a
/// missing axis, stands for any extent.
///
/// Source: <https://docs.pytorch.org/docs/stable/notes/broadcasting.html>.
pub(crate) fn broadcast(layer: &str, inputs: &[&[usize]]) -> Result<Vec<usize>, Error> {
    let mut shape = inputs[0].to_vec();
    for other in &inputs[1..] {
        let known = shape.clone();
        if other.len() > shape.len() {
            shape = [vec![1; other.len() - shape.len()], shape].concat();
        }
        let first = shape.len() - other.len();
        for (extent, &wanted) in shape[first..].iter_mut().zip(*other) {
            if *extent == 1 {
                *extent = wanted;
            } else if wanted != 1 && wanted != *extent {
                let expected = format!("a shape that broadcasts with {known:?}");
                return Err(Error::Shape { layer: layer.into(), expected, got: other.to_vec() });
            }
        }
    }
    Ok(shape)
}

impl Var {
    /// The sum of two values, broadcast as torch's `add`; as of a residual connection.
    ///
    /// Source: <https://docs.pytorch.org/docs/stable/generated/torch.add.html>.
    #[must_use]
    pub fn add(&self, other: &Var) -> Var {
        self.function_with(function!("add", [Pass, Pass], Some(|x, _| x[0] + x[1])), &[other], &[])
    }
}
