use super::tiles::{Copies, Quads};
use super::{BatchAxis, COPYING, Operands, Product, RepeatAxis, SUMMING, emit, way};
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::Candidate;
use crate::graph::lowering::{Lowering, Operand};
use crate::graph::ops::split::Epilogue;
use crate::graph::ops::{layout, rearrange};
use crate::graph::shape::{Planes, u};
use crate::graph::view::{Order, View};

/// A batch of matrices: the layout of a factor or of the result of a product.
#[derive(Clone, Debug)]
pub(in super::super) struct Factor {
    of: Operand,
    offset: usize,
    /// Extents and strides of the batch axes, outermost first.
    batch: Vec<Axis>,
    row: Axis,
    column: Axis,
    /// Number of elements of the axis with stride 1, including zero padding.
    width: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Axis {
    extent: usize,
    stride: usize,
}

impl Axis {
    const ONE: Self = Self { extent: 1, stride: 0 };
}

impl Factor {
    /// The matrices in the last two axes of a view. Its lanes must be one of them.
    pub(in super::super) fn of(view: &View) -> Self {
        Self::of_axes(view, view.shape.len() - 2, view.shape.len() - 1)
    }

    /// The vectors in the last axis of a view, as matrices with one row. Its lanes must be that axis.
    pub(in super::super) fn row(view: &View) -> Self {
        let inner = view.shape.len() - 1;
        let Self { of, offset, batch, column, width, .. } = Self::of_axes(view, inner, inner);
        Self { of, offset, batch, row: Axis::ONE, column, width }
    }

    fn of_axes(view: &View, row: usize, column: usize) -> Self {
        let axis = |axis: usize| match view.shape[axis] {
            _ if axis == view.lanes => Axis { extent: view.shape[axis], stride: 1 },
            1 => Axis::ONE,
            extent => Axis { extent, stride: view.strides[axis] },
        };
        Self {
            of: view.of,
            offset: view.offset,
            batch: (0..row).map(axis).collect(),
            row: axis(row),
            column: axis(column),
            width: view.shape[view.lanes].next_multiple_of(4),
        }
    }

    /// A matrix without padding, such as a parameter or its gradient.
    pub(in super::super) fn dense(of: Operand, [rows, columns]: [usize; 2]) -> Self {
        Self {
            of,
            offset: 0,
            batch: Vec::new(),
            row: Axis { extent: rows, stride: columns },
            column: Axis { extent: columns, stride: 1 },
            width: columns,
        }
    }

    /// Number of rows of all its matrices.
    pub(in super::super) fn rows(&self) -> usize {
        self.batch.iter().map(|axis| axis.extent).product::<usize>() * self.row.extent
    }

    /// The same elements with rows and columns swapped.
    #[must_use]
    pub(in super::super) fn transposed(&self) -> Self {
        Self { row: self.column, column: self.row, ..self.clone() }
    }

    /// Whether its quads lie along its rows.
    fn runs_along_rows(&self) -> bool {
        self.column.stride == 1
    }

    /// A batch axis, counted from the innermost. A missing axis has extent 1.
    fn axis(&self, from_last: usize) -> Axis {
        self.batch.len().checked_sub(from_last + 1).map_or(Axis::ONE, |at| self.batch[at])
    }

    /// Whether it is a single matrix with contiguous rows from the start of the buffer, without padding.
    fn is_dense(&self) -> bool {
        self.batch.is_empty()
            && self.offset == 0
            && self.column.stride == 1
            && self.row.stride == self.column.extent
    }

    /// Writes or adds the contents of packed memory whose `vec4`s lie along rows.
    fn take(&self, lowering: &mut Lowering, layer: &str, from: &View, accumulate: bool) {
        let (images, channels) = (self.row.extent, self.column.extent);
        if !self.is_dense() || channels.is_multiple_of(4) {
            return rearrange(lowering, layer, from, &self.view(), accumulate);
        }
        // Rows that start inside a `vec4` are written as scalars.
        let planes = Planes { images, channels, pixels: 1, channel_stride: 1, pixel_stride: 1 };
        layout::to_planes(lowering, layer, planes, channels, from.of, self.of, accumulate);
    }

    /// Number of elements of all its matrices.
    fn len(&self) -> usize {
        self.rows() * self.column.extent
    }

    /// Packed memory for its elements, with `vec4`s along rows.
    fn scratch(&self, lowering: &mut Lowering, what: &str) -> View {
        let shape = self.view().shape;
        let of = lowering.scratch(what, self.rows() * self.column.extent.next_multiple_of(4));
        View::packed(of, &shape, Order::Natural)
    }

    /// A copy with `vec4`s along rows.
    fn copied(&self, lowering: &mut Lowering, layer: &str) -> Self {
        let to = self.scratch(lowering, "factor");
        rearrange(lowering, layer, &self.view(), &to, false);
        Self::of(&to)
    }

    /// Its elements as a view with all axes.
    fn view(&self) -> View {
        let axes: Vec<Axis> = self.batch.iter().copied().chain([self.row, self.column]).collect();
        View {
            of: self.of,
            shape: axes.iter().map(|axis| axis.extent).collect(),
            strides: axes.iter().map(|axis| axis.stride).collect(),
            offset: self.offset,
            lanes: axes.len() - 1,
        }
    }
}

/// Emits `output = left * right` for each matrix of a batch, which is broadcast as in torch. Along a batch axis on
/// which the output has extent 1, products are summed.
///
/// # Panics
/// If the sizes do not match, or if there is a bias and the columns are not adjacent in a row of the output.
pub(in super::super) fn contract(
    lowering: &mut Lowering,
    layer: &str,
    [left, right, output]: [&Factor; 3],
    bias: Option<Operand>,
    epilogue: Epilogue,
) {
    let sizes = [left.row.extent, left.column.extent, right.column.extent];
    let fits = sizes == [output.row.extent, right.row.extent, output.column.extent];
    assert!(fits, "{layer}: the matrices of its product do not fit");
    if !output.runs_along_rows() {
        assert!(output.row.stride == 1 && bias.is_none(), "{layer}: rows of its output do not lie in a run");
        let exchanged = [right, left, output].map(Factor::transposed);
        return contract(lowering, layer, [&exchanged[0], &exchanged[1], &exchanged[2]], None, epilogue);
    }
    let product = Product { has_bias: bias.is_some(), ..product(left, right, output) };
    if let Some(copies) = copies(lowering, &product, [left, right, output]) {
        let [left, right] = copied(lowering, layer, copies, [left, right]);
        return match copies.output {
            false => contract(lowering, layer, [&left, &right, output], bias, epilogue),
            true => contract_apart(lowering, layer, [&left, &right, output], bias, epilogue),
        };
    }
    let operands = Operands { left: left.of, right: right.of, bias, output: output.of };
    if product.len_if_packed().is_some() || !way(lowering, &product).1 {
        return emit(lowering, layer, &product, operands, epilogue);
    }
    contract_apart(lowering, layer, [left, right, output], bias, epilogue);
}

/// Like [`contract`], through packed memory that is then written or added to the output. Needed because the parts of
/// a sum are packed side by side.
fn contract_apart(
    lowering: &mut Lowering,
    layer: &str,
    [left, right, output]: [&Factor; 3],
    bias: Option<Operand>,
    Epilogue { accumulate, finish }: Epilogue,
) {
    assert!(finish.is_none(), "{layer}: only a packed output is finished");
    let from = output.scratch(lowering, "product");
    contract(lowering, layer, [left, right, &Factor::of(&from)], bias, Epilogue::default());
    output.take(lowering, layer, &from, accumulate);
}

/// What to copy for a product, if that makes it faster.
fn copies(lowering: &Lowering, product: &Product, factors: [&Factor; 3]) -> Option<Copies> {
    let copying = Candidate::first(COPYING, product, &lowering.capabilities)?;
    copying(product, factors.map(|factor| factor.len() as u64))
        .filter(|copies| !copies.output || factors[2].is_dense())
}

/// The left and right factors, or copies of them.
fn copied(lowering: &mut Lowering, layer: &str, copies: Copies, [left, right]: [&Factor; 2]) -> [Factor; 2] {
    let mut copied = |factor: &Factor, quads: Option<Quads>, rows: Quads| match quads {
        None => factor.clone(),
        Some(quads) if quads == rows => factor.copied(lowering, layer),
        Some(_) => factor.transposed().copied(lowering, layer).transposed(),
    };
    // Rows of the right factor lie along the columns of the product.
    let left = copied(left, copies.factors[0], Quads::AlongInner);
    [left, copied(right, copies.factors[1], Quads::AlongEdge)]
}

/// Like [`contract`] for one matrix, with the sums of the rows of `left` in the same dispatch; both are written or
/// added. Returns whether there is such a kernel; if not, nothing is emitted.
pub(in super::super) fn contract_summing(
    lowering: &mut Lowering,
    layer: &str,
    [left, right, output]: [&Factor; 3],
    accumulate: bool,
    (sums, add_sums): (Operand, bool),
) -> bool {
    let product = product(left, right, output);
    if let Some(copies) = copies(lowering, &product, [left, right, output]) {
        // No kernel computes sums of copied factors. Copying only the output makes no difference.
        if copies.factors != [None, None] {
            return false;
        }
        let from = output.scratch(lowering, "product");
        let factors = [left, right, &Factor::of(&from)];
        let summed = contract_summing(lowering, layer, factors, false, (sums, add_sums));
        if summed {
            output.take(lowering, layer, &from, accumulate);
        }
        return summed;
    }
    let Some(way) = Candidate::first(SUMMING, &product, &lowering.capabilities) else { return false };
    let launch = way(&product, lowering.capabilities.lanes(), [accumulate, add_sums]);
    let operands = [left.of, right.of, output.of, sums];
    let storage = [Read, Read, ReadWrite, ReadWrite];
    lowering.launch_finishing(layer, (&storage, &operands), launch, 1, None);
    true
}

/// The sizes of a product, with as few axes as possible.
fn product(left: &Factor, right: &Factor, output: &Factor) -> Product {
    let mut product = Product {
        rows: u(left.row.extent),
        columns: u(right.column.extent),
        inner: u(left.column.extent),
        offsets: [left, right, output].map(|factor| u(factor.offset)),
        left: [u(left.row.stride), u(left.column.stride)],
        right: [u(right.row.stride), u(right.column.stride)],
        out_row: u(output.row.stride),
        out_width: u(output.width),
        ..Product::default()
    };
    let axes = [left, right, output].map(|factor| factor.batch.len()).into_iter().max().unwrap_or(0);
    for at in 0..axes {
        let [left, right, out] = [left, right, output].map(|factor| factor.axis(at));
        let extent = u(left.extent.max(right.extent).max(out.extent));
        if extent == 1 {
            continue;
        }
        let stride = |axis: Axis| if axis.extent == 1 { 0 } else { u(axis.stride) };
        let strides = [stride(left), stride(right), stride(out)];
        if out.extent == 1 {
            product.add_repeats(RepeatAxis { extent, strides: [strides[0], strides[1]] });
        } else {
            product.add_batch(BatchAxis { extent, strides });
        }
    }
    product
}

impl Product {
    /// Adds a batch axis outside of the existing ones.
    fn add_batch(&mut self, axis: BatchAxis) {
        let BatchAxis { extent, strides: [left, right, out] } = axis;
        if self.batch.is_empty() && right == 0 {
            if self.rows == 1 && self.left[0] != 1 {
                (self.rows, self.left[0], self.out_row) = (extent, left, out);
                return;
            }
            if left == self.rows * self.left[0] && out == self.rows * self.out_row {
                self.rows *= extent;
                return;
            }
        }
        match self.batch.last_mut() {
            Some(last) if axis.strides == last.strides.map(|stride| stride * last.extent) => {
                last.extent *= extent
            }
            _ => self.batch.push(axis),
        }
    }

    /// Adds an axis, outside of the existing ones, over which products are summed.
    fn add_repeats(&mut self, axis: RepeatAxis) {
        let RepeatAxis { extent, strides } = axis;
        let along_inner = [self.left[1], self.right[0]];
        let inner_goes_on =
            self.repeats.is_empty() && strides == along_inner.map(|stride| stride * self.inner);
        if inner_goes_on {
            self.inner *= extent;
            return;
        }
        match self.repeats.last_mut() {
            Some(last) if strides == last.strides.map(|stride| stride * last.extent) => last.extent *= extent,
            _ => self.repeats.push(axis),
        }
    }
}
