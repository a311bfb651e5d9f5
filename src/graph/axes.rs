//! Axes that a kernel iterates over together, and the WGSL that computes indices along them.

use std::fmt::Write;

use super::view::View;

/// Some axes of one shape, outermost first, with the strides of several views along them. Adjacent axes that are
/// contiguous in all views are merged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Axes {
    /// Prefix of the index variables along the axes: `c0`, `c1`, ...
    prefix: char,
    extents: Vec<usize>,
    /// For each view, its stride along each axis; 0 where its extent is 1.
    strides: Vec<Vec<usize>>,
}

impl Axes {
    /// The given axes of `shape`, in this order. All views have the rank of `shape`; an axis on which a view has
    /// extent 1 is broadcast.
    pub(super) fn new(prefix: char, shape: &[usize], axes: &[usize], views: &[&View]) -> Self {
        let mut all = Self { prefix, extents: Vec::new(), strides: vec![Vec::new(); views.len()] };
        for &axis in axes.iter().filter(|&&axis| shape[axis] > 1) {
            let strides: Vec<usize> = views.iter().map(|view| stride(view, axis)).collect();
            all.push(shape[axis], &strides);
        }
        all
    }

    fn push(&mut self, extent: usize, strides: &[usize]) {
        let known = || self.strides.iter().map(|known| known.last());
        let joins = !self.extents.is_empty()
            && known().zip(strides).all(|(outer, inner)| outer.is_some_and(|&outer| outer == inner * extent));
        if joins {
            *self.extents.last_mut().expect("it has one") *= extent;
            for (known, &stride) in self.strides.iter_mut().zip(strides) {
                *known.last_mut().expect("it has one") = stride;
            }
            return;
        }
        self.extents.push(extent);
        for (known, &stride) in self.strides.iter_mut().zip(strides) {
            known.push(stride);
        }
    }

    /// Product of the extents.
    pub(super) fn count(&self) -> usize {
        self.extents.iter().product()
    }

    /// Statements that split the flat index `of` into one index per axis.
    pub(super) fn places(&self, of: &str) -> String {
        let (prefix, mut text) = (self.prefix, String::new());
        let mut rest = of.to_owned();
        for (axis, extent) in self.extents.iter().enumerate().rev() {
            if axis == 0 {
                writeln!(text, "let {prefix}0 = {rest};").expect("text grows");
            } else {
                writeln!(text, "let {prefix}{axis} = ({rest}) % {extent}u;").expect("text grows");
                writeln!(text, "let {prefix}rest{axis} = ({rest}) / {extent}u;").expect("text grows");
                rest = format!("{prefix}rest{axis}");
            }
        }
        text
    }

    /// An expression for the offset of the indices in a view, in units of `unit` elements.
    pub(super) fn address(&self, view: usize, unit: usize) -> String {
        let prefix = self.prefix;
        let along = self.strides[view].iter().enumerate().filter(|(_, stride)| **stride > 0);
        let terms: Vec<String> = along
            .map(|(axis, stride)| match stride / unit {
                1 => format!("{prefix}{axis}"),
                stride => format!("{prefix}{axis} * {stride}u"),
            })
            .collect();
        if terms.is_empty() { "0u".into() } else { terms.join(" + ") }
    }

    /// Whether all offsets of a view along these axes are multiples of 4.
    pub(super) fn are_even(&self, view: usize) -> bool {
        self.strides[view].iter().all(|stride| stride.is_multiple_of(4))
    }
}

/// The stride of a view along one of its axes; 0 where its extent is 1.
pub(super) fn stride(view: &View, axis: usize) -> usize {
    if view.shape[axis] > 1 { view.strides[axis] } else { 0 }
}

/// All axes of a view except the axis of its lanes, outermost in memory first.
pub(super) fn outer(view: &View) -> Vec<usize> {
    let mut axes: Vec<usize> = (0..view.shape.len()).filter(|&axis| axis != view.lanes).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(stride(view, axis)));
    axes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::lowering::Operand;
    use crate::graph::view::Order;

    #[test]
    fn neighbours_in_one_run_of_all_views_are_one_axis() {
        let view = |shape: &[usize]| View::packed(Operand::Value(0), shape, Order::Natural);
        let (a, b) = (view(&[2, 3, 4, 5]), view(&[2, 1, 4, 5]));
        let one = Axes::new('c', &[2, 3, 4], &[0, 1, 2], &[&a]);
        assert_eq!((one.extents, one.strides), (vec![24], vec![vec![8]]));
        let both = Axes::new('c', &[2, 3, 4], &[0, 1, 2], &[&a, &b]);
        assert_eq!(both.strides, [[96, 32, 8], [32, 0, 8]]);
        assert_eq!((both.count(), both.address(1, 4)), (24, "c0 * 8u + c2 * 2u".to_owned()));
        assert_eq!(Axes::new('c', &[1, 1], &[0, 1], &[&view(&[1, 1])]).address(0, 1), "0u");
    }
}
