//! Layouts of the rows of queries, keys, values and masks.

use crate::graph::lowering::Operand;
use crate::graph::shape::u;
use crate::graph::view::View;

/// Rows with two leading axes (outer and inner: batch and heads).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rows {
    pub(super) of: Operand,
    /// Offset of the first row, and the strides along batch, heads and rows.
    strides: [usize; 4],
    /// Stride between the elements of a row.
    inner: usize,
}

impl Rows {
    /// The rows of a view in units of quads; `None` if its elements are not in whole quads.
    pub(super) fn of_quads(view: &View) -> Option<Self> {
        let rows = Self::of_elements(view, &view.shape)?;
        let quads = rows.strides.map(|stride| stride / 4);
        // An element repeated along the lanes is not a quad.
        let has_quads = view.shape[view.lanes] == 1 || view.strides[view.lanes] == 1;
        (has_quads && view.lanes + 1 == view.shape.len()).then_some(Self { strides: quads, ..rows })
    }

    /// The rows of a view broadcast to a shape, in units of elements; `None` if its leading axes cannot be merged
    /// into two.
    pub(super) fn of_elements(view: &View, shape: &[usize]) -> Option<Self> {
        let missing = shape.len() - view.shape.len();
        let stride = |axis: usize| match axis.checked_sub(missing) {
            Some(own) if view.shape[own] > 1 => view.strides[own],
            _ => 0,
        };
        let rank = shape.len();
        let mut batch = 0;
        // The axes before the heads must merge into one; those of extent 1 do not count.
        let mut extent = 0;
        for axis in (0..rank.saturating_sub(3)).rev().filter(|&axis| shape[axis] > 1) {
            if extent == 0 {
                (batch, extent) = (stride(axis), shape[axis]);
            } else if stride(axis) == batch * extent {
                extent *= shape[axis];
            } else {
                return None;
            }
        }
        let of_axis = |from_end: usize| rank.checked_sub(from_end).map_or(0, stride);
        Some(Self { of: view.of, strides: [view.offset, batch, of_axis(3), of_axis(2)], inner: of_axis(1) })
    }

    /// Its declaration as a WGSL constant.
    pub(super) fn declared(&self, name: &str) -> String {
        let [first, batch, head, row] = self.strides.map(u);
        format!("const {name}: vec4u = vec4u({first}u, {batch}u, {head}u, {row}u);\n")
    }

    /// The stride between neighbours in a row.
    pub(super) fn inner(&self) -> u32 {
        u(self.inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::view::Order;

    fn packed(shape: &[usize]) -> View {
        View::packed(Operand::Value(0), shape, Order::Natural)
    }

    #[test]
    fn leading_axes_go_as_batch_and_heads_where_they_can() {
        let strides = |view: &View| Rows::of_quads(view).map(|rows| rows.strides);
        assert_eq!(strides(&packed(&[5, 6])), Some([0, 0, 0, 2]));
        assert_eq!(strides(&packed(&[3, 5, 6])), Some([0, 0, 10, 2]));
        assert_eq!(strides(&packed(&[2, 3, 5, 6])), Some([0, 30, 10, 2]));
        assert_eq!(strides(&packed(&[7, 2, 3, 5, 6])), Some([0, 30, 10, 2]));
        assert_eq!(strides(&packed(&[7, 1, 3, 5, 6])), Some([0, 30, 10, 2]));
        // Heads viewed before the rows, at an offset.
        let mut heads = packed(&[2, 5, 3, 8]);
        (heads.shape, heads.strides, heads.offset) = (vec![2, 3, 5, 8], vec![120, 8, 24, 1], 4);
        assert_eq!(strides(&heads), Some([1, 30, 2, 6]));
        let mut crossed = packed(&[7, 2, 3, 5, 6]);
        crossed.shape.swap(0, 1);
        crossed.strides.swap(0, 1);
        assert_eq!(strides(&crossed), None);
        assert_eq!(strides(&View::packed(Operand::Value(0), &[2, 3, 5, 6], Order::ChannelsLast)), None);
        // A column repeated along the row.
        let spread = View { shape: vec![5, 6], strides: vec![4, 0], ..packed(&[5, 1]) };
        assert_eq!(strides(&spread), None);
        assert_eq!(strides(&View { shape: vec![5, 1], ..spread }), Some([0, 0, 0, 1]));
    }

    #[test]
    fn masks_are_broadcast_from_the_last_axis() {
        let of = |shape: &[usize], to: &[usize]| {
            Rows::of_elements(&packed(shape), to).map(|rows| (rows.strides, rows.inner))
        };
        let scores = [2, 3, 5, 7];
        assert_eq!(of(&[5, 7], &scores), Some(([0, 0, 0, 8], 1)));
        assert_eq!(of(&[7], &scores), Some(([0, 0, 0, 0], 1)));
        assert_eq!(of(&[2, 1, 1, 7], &scores), Some(([0, 8, 0, 0], 1)));
        assert_eq!(of(&[3, 5, 1], &scores), Some(([0, 0, 20, 4], 0)));
        assert_eq!(of(&[4, 1, 3, 5, 7], &[4, 2, 3, 5, 7]), None);
    }
}
