//! Memory layouts of values: the order of axes, and the strides.

use std::collections::BTreeSet;

use super::Node;
use super::lowering::Operand;
use super::ops::{Made, Reads};

/// The order of axes of packed memory. The innermost axis is padded to whole quads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Order {
    /// The last axis is innermost.
    Natural,
    /// Axis 1 is innermost: an image `[N, C, H, W]` is stored as `[N, H, W, C]`. With fewer than three axes it equals
    /// the natural order.
    ChannelsLast,
}

impl Order {
    /// The axes of a value of this rank, outermost first.
    pub(crate) fn axes(self, rank: usize) -> Vec<usize> {
        let mut axes: Vec<usize> = (0..rank).collect();
        if self == Self::ChannelsLast && rank > 2 {
            axes[1..].rotate_left(1);
        }
        axes
    }

    /// The innermost axis.
    pub(crate) fn lanes(self, rank: usize) -> usize {
        if self == Self::ChannelsLast && rank > 2 { 1 } else { rank.max(1) - 1 }
    }
}

/// The layout of a value in a buffer: the element at `index` is at `offset` plus the sum of `index * strides`.
///
/// Quads lie along the axis `lanes`, whose stride is 1. The other strides and the offset are multiples of 4, and an
/// incomplete last quad is padded with zeros. So kernels can load and store whole quads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct View {
    pub(crate) of: Operand,
    pub(crate) shape: Vec<usize>,
    pub(crate) strides: Vec<usize>,
    pub(crate) offset: usize,
    pub(crate) lanes: usize,
}

impl View {
    /// A whole buffer in an order of axes.
    pub(crate) fn packed(of: Operand, shape: &[usize], order: Order) -> Self {
        Self {
            of,
            shape: shape.to_vec(),
            strides: packed_strides(shape, order),
            offset: 0,
            lanes: order.lanes(shape.len()),
        }
    }

    /// Whether it starts at the start of the buffer and is packed in this order.
    pub(crate) fn is_packed(&self, order: Order) -> bool {
        let lanes = order.lanes(self.shape.len());
        let packed = packed_strides(&self.shape, order);
        let mut axes = self.shape.iter().zip(self.strides.iter().zip(&packed));
        self.offset == 0
            && (self.lanes == lanes || self.shape[lanes] == 1 && self.shape[self.lanes] == 1)
            && axes.all(|(&extent, (have, want))| extent == 1 || have == want)
    }

    /// Number of quads along its lanes.
    pub(crate) fn row_quads(&self) -> usize {
        self.shape[self.lanes].div_ceil(4)
    }

    /// Number of distinct elements of its buffer that it covers, including the padding of quads.
    pub(crate) fn touched(&self) -> usize {
        let axes = self.shape.iter().zip(&self.strides).enumerate();
        let along = |(axis, (&extent, &stride)): (usize, (&usize, &usize))| match stride {
            0 => 1,
            _ if axis == self.lanes => extent.next_multiple_of(4),
            _ => extent,
        };
        axes.map(along).product()
    }

    /// The quads that it covers; a quad that is used several times is repeated.
    pub(crate) fn quads(&self) -> impl Iterator<Item = usize> + '_ {
        let outer: Vec<usize> = (0..self.shape.len()).filter(|&axis| axis != self.lanes).collect();
        let rows: usize = outer.iter().map(|&axis| self.shape[axis]).product();
        (0..rows).flat_map(move |row| {
            let (mut rest, mut at) = (row, self.offset);
            for &axis in outer.iter().rev() {
                at += rest % self.shape[axis] * self.strides[axis];
                rest /= self.shape[axis];
            }
            at / 4..at / 4 + self.row_quads()
        })
    }

    /// Whether both use a common quad of one buffer.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let own: BTreeSet<usize> = if self.of == other.of { self.quads().collect() } else { BTreeSet::new() };
        !own.is_empty() && other.quads().any(|quad| own.contains(&quad))
    }

    /// The same elements in row-major order with another shape, if that is possible without moving them.
    pub(crate) fn reshaped(&self, shape: &[usize]) -> Option<Self> {
        let long = |shape: &[usize]| (0..shape.len()).filter(|&axis| shape[axis] > 1).collect::<Vec<_>>();
        let (old, new) = (long(&self.shape), long(shape));
        let mut view = Self { shape: shape.to_vec(), strides: vec![0; shape.len()], ..self.clone() };
        let mut lanes = None;
        let (mut from, mut to) = (0, 0);
        while from < old.len() {
            // The smallest groups of axes on both sides with equal numbers of elements.
            let (mut end, mut new_end) = (from + 1, to + 1);
            let (mut have, mut want) = (self.shape[old[from]], shape[new[to]]);
            while have != want {
                if have < want {
                    have *= self.shape[old[end]];
                    end += 1;
                } else {
                    want *= shape[new[new_end]];
                    new_end += 1;
                }
            }
            let pairs = old[from..end].windows(2);
            if pairs.into_iter().any(|p| self.strides[p[0]] != self.shape[p[1]] * self.strides[p[1]]) {
                return None;
            }
            let mut stride = self.strides[old[end - 1]];
            for &axis in new[to..new_end].iter().rev() {
                view.strides[axis] = stride;
                stride *= shape[axis];
            }
            if old[from..end].contains(&self.lanes) {
                let inner = new[new_end - 1];
                if self.lanes != old[end - 1] || new_end - to > 1 && !shape[inner].is_multiple_of(4) {
                    return None;
                }
                lanes = Some(inner);
            }
            (from, to) = (end, new_end);
        }
        // If the lanes have extent 1, any other axis of extent 1 can be the lanes.
        view.lanes = lanes.or_else(|| (0..shape.len()).rev().find(|&axis| shape[axis] == 1))?;
        Some(view)
    }

    /// The same elements with leading axes of extent 1, so that the rank is `rank`.
    pub(crate) fn aligned(&self, rank: usize) -> Self {
        let missing = rank - self.shape.len();
        Self {
            of: self.of,
            shape: [vec![1; missing], self.shape.clone()].concat(),
            strides: [vec![0; missing], self.strides.clone()].concat(),
            offset: self.offset,
            lanes: self.lanes + missing,
        }
    }

    /// The same elements in another buffer with the same layout.
    pub(crate) fn in_buffer(&self, of: Operand) -> Self {
        Self { of, ..self.clone() }
    }
}

fn packed_strides(shape: &[usize], order: Order) -> Vec<usize> {
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for (inner, &axis) in order.axes(shape.len()).iter().rev().enumerate() {
        strides[axis] = stride;
        stride *= if inner == 0 { shape[axis].next_multiple_of(4) } else { shape[axis] };
    }
    strides
}

/// The order of axes of each node's own memory.
///
/// An op's [`Made`] decides. Inputs, and ops that adopt the order of their inputs, use the order that their readers
/// prefer.
pub(crate) fn orders(nodes: &[Node], shapes: &[Vec<usize>]) -> Vec<Order> {
    let mut orders: Vec<Option<Order>> = Vec::with_capacity(nodes.len());
    for (id, node) in nodes.iter().enumerate() {
        orders.push(match node.op.makes() {
            Made::Natural => Some(Order::Natural),
            Made::ChannelsLast => Some(Order::ChannelsLast),
            Made::AsInputs => {
                let same_rank = |input: &&usize| shapes[**input].len() == shapes[id].len();
                let known = || node.inputs.iter().filter(same_rank).filter_map(|&input| orders[input]);
                known().max()
            }
        });
    }
    for id in (0..nodes.len()).rev() {
        let order = orders[id].unwrap_or(Order::Natural);
        orders[id] = Some(order);
        for (at, &input) in nodes[id].inputs.iter().enumerate() {
            let wanted = match nodes[id].op.reads(at) {
                Reads::ChannelsLast => Order::ChannelsLast,
                Reads::AsMade | Reads::Strided if nodes[id].op.makes() == Made::AsInputs => order,
                _ => Order::Natural,
            };
            if orders[input].is_none() && wanted == Order::ChannelsLast && shapes[input].len() > 2 {
                orders[input] = Some(wanted);
            }
        }
    }
    orders.into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(shape: &[usize], order: Order) -> View {
        View::packed(Operand::Value(0), shape, order)
    }

    #[test]
    fn the_innermost_axis_is_padded_to_quads() {
        assert_eq!(view(&[2, 3, 5], Order::Natural).strides, [24, 8, 1]);
        assert_eq!(view(&[2, 3, 4, 5], Order::ChannelsLast).strides, [80, 1, 20, 4]);
        assert_eq!(view(&[6, 5], Order::ChannelsLast).strides, [8, 1]);
        assert_eq!(view(&[7], Order::Natural).strides, [1]);
    }

    #[test]
    fn orders_that_differ_in_axes_of_one_element_only_are_the_same_memory() {
        let image = view(&[3, 8, 1, 1], Order::ChannelsLast);
        assert!(image.is_packed(Order::ChannelsLast) && !image.is_packed(Order::Natural));
        let row = view(&[3, 1, 8], Order::Natural);
        assert!(row.is_packed(Order::Natural) && !row.is_packed(Order::ChannelsLast));
        assert!(view(&[3, 1, 1], Order::Natural).is_packed(Order::ChannelsLast));
    }

    #[test]
    fn a_shape_is_another_view_where_the_elements_lie_for_it() {
        let natural = |shape: &[usize]| view(shape, Order::Natural);
        let heads = natural(&[2, 3, 32]).reshaped(&[2, 3, 4, 8]).unwrap();
        assert_eq!((&heads.strides[..], heads.lanes), (&[96, 32, 8, 1][..], 3));
        let rows = natural(&[2, 3, 8]).reshaped(&[6, 8]).unwrap();
        assert_eq!((&rows.strides[..], rows.lanes), (&[8, 1][..], 1));
        assert!(natural(&[2, 3, 8]).reshaped(&[2, 24]).unwrap().is_packed(Order::Natural));
        assert!(natural(&[2, 3, 5]).reshaped(&[6, 5]).unwrap().is_packed(Order::Natural));
        // Padded rows, cuts within a quad, and lanes that would not be adjacent.
        for (from, to) in
            [(&[2, 5][..], &[10][..]), (&[2, 12], &[2, 6, 2]), (&[10], &[2, 5]), (&[5, 1], &[5])]
        {
            assert_eq!(natural(from).reshaped(to), None, "{from:?} as {to:?}");
        }
        assert_eq!(natural(&[1, 5, 1]).reshaped(&[5, 1]).unwrap().lanes, 1);
        let image = view(&[3, 8, 2, 2], Order::ChannelsLast);
        assert_eq!(image.reshaped(&[3, 8, 4]).unwrap().strides, [32, 1, 8]);
        assert_eq!(image.reshaped(&[3, 32]), None);
        assert!(
            view(&[3, 6, 1, 1], Order::ChannelsLast).reshaped(&[3, 6]).unwrap().is_packed(Order::Natural)
        );
    }

    #[test]
    fn a_view_knows_the_quads_that_it_covers() {
        let mut right = view(&[2, 8], Order::Natural);
        (right.shape, right.offset) = (vec![2, 4], 4);
        assert_eq!(right.quads().collect::<Vec<_>>(), [1, 3]);
        assert_eq!(view(&[2, 5], Order::Natural).quads().collect::<Vec<_>>(), [0, 1, 2, 3]);
    }
}
