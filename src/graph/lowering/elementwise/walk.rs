//! The iteration of a pointwise kernel over its elements.

use std::fmt::Write;

use super::vector;
use crate::graph::view::View;

/// How the invocations of a kernel cover the elements: the axes, outermost first; the last one is the axis of the
/// lanes. Adjacent axes that are contiguous in all operands are merged.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    pub(super) extents: Vec<usize>,
    /// Elements per invocation along the lanes: 4, 2 or 1.
    pub(super) width: usize,
    /// Number of vectors of that width.
    pub(super) vectors: usize,
    /// For each operand, its stride along each axis.
    pub(super) strides: Vec<Vec<usize>>,
}

impl Walk {
    pub(super) fn new<'a>(output: &View, operands: impl Iterator<Item = &'a View>, width: usize) -> Self {
        let rank = output.shape.len();
        // Axes are in the memory order of the output.
        let mut axes: Vec<usize> =
            (0..rank).filter(|&axis| axis != output.lanes && output.shape[axis] > 1).collect();
        axes.sort_by_key(|&axis| std::cmp::Reverse(output.strides[axis]));
        axes.push(output.lanes);
        let all: Vec<Vec<usize>> = operands
            .map(|view| {
                let missing = rank - view.shape.len();
                let stride = |axis: usize| match axis.checked_sub(missing) {
                    Some(own) if view.shape[own] > 1 => view.strides[own],
                    _ => 0,
                };
                axes.iter().map(|&axis| stride(axis)).collect()
            })
            .collect();
        let strides = vec![Vec::new(); all.len()];
        let mut walk = Self { extents: Vec::new(), width, vectors: 1, strides };
        for (at, &axis) in axes.iter().enumerate() {
            let extent = output.shape[axis];
            let is_lanes = at + 1 == axes.len();
            let joins = !is_lanes
                && walk.extents.last().is_some()
                && all
                    .iter()
                    .zip(&walk.strides)
                    .all(|(new, known)| known.last().is_some_and(|&outer| outer == new[at] * extent));
            walk.vectors *= if is_lanes { extent.next_multiple_of(4) / width } else { extent };
            if joins {
                *walk.extents.last_mut().expect("it has one") *= extent;
                for (known, new) in walk.strides.iter_mut().zip(&all) {
                    *known.last_mut().expect("it has one") = new[at];
                }
            } else {
                walk.extents.push(extent);
                for (known, new) in walk.strides.iter_mut().zip(&all) {
                    known.push(new[at]);
                }
            }
        }
        walk
    }

    /// The type of one vector.
    pub(super) fn vector(&self) -> &'static str {
        vector(self.width)
    }

    /// Number of vectors along the lanes.
    pub(super) fn row(&self) -> usize {
        self.extents[self.extents.len() - 1].next_multiple_of(4) / self.width
    }

    /// A condition that is true for elements that are not padding, if there is padding.
    pub(super) fn inside(&self, flat: bool) -> Option<String> {
        let last = self.extents.len() - 1;
        let extent = self.extents[last];
        if extent.is_multiple_of(4) {
            return None;
        }
        let place = if flat { format!("i % {}u", self.row()) } else { format!("c{last}") };
        let lanes = ["", "0u", "0u, 1u", "", "0u, 1u, 2u, 3u"][self.width];
        let counts = vector(self.width).replace("f32", "u32").replace('f', "u");
        Some(format!("{counts}(({place}) * {}u) + {counts}({lanes}) < {counts}({extent}u)", self.width))
    }

    /// Whether all operands are contiguous, so that quad `i` of each is at index `i`.
    pub(super) fn is_flat(&self, offsets: &[usize]) -> bool {
        let lanes = self.extents[self.extents.len() - 1];
        let row = lanes.next_multiple_of(4);
        offsets.iter().all(|&offset| offset == 0)
            && self.strides.iter().all(|strides| match strides[..] {
                [inner] => inner == 1 || lanes == 1,
                [outer, inner] => (inner == 1 || lanes == 1) && outer == row,
                _ => false,
            })
    }

    /// Statements that compute the indices `c0`, `c1`, .. from the number of a vector, in elements for all axes but
    /// the last, which counts vectors.
    pub(super) fn coordinates(&self) -> String {
        let mut text = String::new();
        let last = self.extents.len() - 1;
        text += "    var rest = i;\n";
        for axis in (0..=last).rev() {
            let extent = if axis == last { self.row() } else { self.extents[axis] };
            if axis == 0 {
                writeln!(text, "    let c0 = rest;").expect("text grows");
            } else {
                writeln!(text, "    let c{axis} = rest % {extent}u;\n    rest /= {extent}u;")
                    .expect("text grows");
            }
        }
        text
    }

    /// The offset of the first element of a quad in an operand, ignoring the lanes, in elements.
    pub(super) fn address(&self, operand: usize, offset: usize, divisor: usize) -> String {
        let strides = &self.strides[operand];
        let last = strides.len() - 1;
        let mut terms: Vec<String> = (0..last)
            .filter(|&axis| strides[axis] > 0)
            .map(|axis| match strides[axis] / divisor {
                1 => format!("c{axis}"),
                stride => format!("c{axis} * {stride}u"),
            })
            .collect();
        if offset > 0 {
            terms.push(format!("{}u", offset / divisor));
        }
        if terms.is_empty() { "0u".into() } else { terms.join(" + ") }
    }

    /// An expression for one element of a buffer of vectors.
    pub(super) fn element(&self, buffer: &str, at: &str) -> String {
        let width = self.width;
        if width == 1 {
            format!("{buffer}[{at}]")
        } else {
            format!("{buffer}[({at}) / {width}u][({at}) % {width}u]")
        }
    }

    /// An expression for one vector of an input.
    pub(super) fn load(&self, operand: usize, view: &View, buffer: &str) -> String {
        let strides = &self.strides[operand];
        let (last, lanes) = (strides.len() - 1, strides[strides.len() - 1]);
        let extent = self.extents[last];
        let even =
            strides[..last].iter().all(|stride| stride.is_multiple_of(4)) && view.offset.is_multiple_of(4);
        if even && (lanes == 1 || extent == 1) {
            return format!("{buffer}[{} + c{last}]", self.address(operand, view.offset, self.width));
        }
        let (vector, width) = (self.vector(), self.width);
        let at = self.address(operand, view.offset, 1);
        if lanes == 0 {
            return format!("{vector}({})", self.element(buffer, &at));
        }
        // Past the end of the lanes, the last element is used.
        let lane = |lane: usize| {
            let place = format!("min(c{last} * {width}u + {lane}u, {}u)", extent - 1);
            self.element(buffer, &format!("{at} + {place} * {lanes}u"))
        };
        format!("{vector}({})", (0..width).map(lane).collect::<Vec<_>>().join(", "))
    }
}
