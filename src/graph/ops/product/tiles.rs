//! Products on CPU adapters with subgroups of 8: register tiles, one for each way that the matrices can lie.

use super::{Product, Shape};
use crate::gpu::Capabilities;
use crate::graph::ops::split::Parts;
use crate::graph::template::{AnyLaunch, Launch, Template, fold};

/// Rows of the widest tile: a product of 512 runs 5% faster with twice as many, whose kernel takes three times as
/// long to compile.
const TILE: u32 = 32;

/// Rows of a tile: one of a few sizes, so that pipelines are shared.
fn tile_rows(rows: u32) -> u32 {
    rows.next_power_of_two().min(TILE)
}

fn are_quads(mut distances: impl Iterator<Item = u32>) -> bool {
    distances.all(|distance| distance.is_multiple_of(4))
}

/// Whether each left matrix (0), right matrix (1) or output (2) begins at a whole vec4.
fn begin_at_quads(product: &Product, which: usize) -> bool {
    let batch = product.batch.iter().map(|axis| axis.strides[which]);
    let repeats = product.repeats.iter().filter_map(|axis| axis.strides.get(which).copied());
    are_quads(batch.chain(repeats).chain([product.offsets[which]]))
}

/// Whether the rows of the outputs are whole vec4s.
fn writes_quads(product: &Product) -> bool {
    let rows = (product.rows > 1).then_some(product.out_row);
    begin_at_quads(product, 2) && are_quads(rows.into_iter().chain([product.out_width]))
}

/// The dimension of a factor along which its vec4s lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Quads {
    AlongInner,
    /// Along rows of the product for the left factor, along columns for the right one.
    AlongEdge,
}

/// Whether the vec4s of the left (0) or right (1) matrices lie so.
fn lie(product: &Product, which: usize, quads: Quads) -> bool {
    let [edge, inner] = [product.left, [product.right[1], product.right[0]]][which];
    let (along, across) = match quads {
        Quads::AlongInner => (inner, edge),
        Quads::AlongEdge => (edge, inner),
    };
    along == 1 && across.is_multiple_of(4) && begin_at_quads(product, which)
}

/// The ways in which vec4s of both factors can lie, for [`nt`], [`nn`] and [`tn`]; only the first takes a bias.
const WAYS: [[Quads; 2]; 3] = [
    [Quads::AlongInner, Quads::AlongInner],
    [Quads::AlongInner, Quads::AlongEdge],
    [Quads::AlongEdge, Quads::AlongEdge],
];

fn fits(product: &Product, way: usize) -> bool {
    let factors_lie = (0..2).all(|which| lie(product, which, WAYS[way][which]));
    factors_lie && writes_quads(product) && (way == 0 || !product.has_bias)
}

/// What must be copied before, and whether the output must be copied after, so that tiles can compute a product.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Copies {
    /// How the vec4s of a copy of the left and of the right factor lie.
    pub(super) factors: [Option<Quads>; 2],
    pub(super) output: bool,
}

/// Products of one element each that tiles save more on than copying an element costs.
const PAYS: u64 = 48;

/// The fewest copies with which tiles can compute a product that they do not fit, if that is faster than without:
/// `lens` are the elements of left factor, right factor and output.
pub(super) fn copies(product: &Product, lens: [u64; 3]) -> Option<Copies> {
    if (0..WAYS.len()).any(|way| fits(product, way)) {
        return None;
    }
    let of_way = |way: &[Quads; 2]| {
        let missing = |which: usize| (!lie(product, which, way[which])).then_some(way[which]);
        let copies = Copies { factors: [0, 1].map(missing), output: !writes_quads(product) };
        let [left, right] = [0, 1].map(|which| copies.factors[which].map_or(0, |_| lens[which]));
        (left + right + if copies.output { lens[2] } else { 0 }, copies)
    };
    let ways = if product.has_bias { &WAYS[..1] } else { &WAYS };
    let (copied, copies) = ways.iter().map(of_way).min_by_key(|(copied, _)| *copied)?;
    let terms = u64::from(product.batches()) * u64::from(product.added());
    let terms = terms * u64::from(product.rows) * u64::from(product.columns) * u64::from(product.inner);
    (terms >= PAYS * copied).then_some(copies)
}

/// How the inner dimension of [`nt`] and [`nn`] is split, in vec4s.
pub(super) fn quads(product: &Product, _: &Capabilities) -> Parts {
    Parts::of(product.inner.div_ceil(4) * product.added(), 4)
}

/// Emits a kernel with tiles of so many rows, one of whose loads brings `rows_per_load`; `steps` are those of one repeat.
fn launch(
    product: &Product,
    (name, source): (&'static str, &'static str),
    [rows, rows_per_load, steps]: [u32; 3],
    shape: Shape,
) -> AnyLaunch {
    let line_tiles = product.rows.div_ceil(rows);
    let batch_tiles = line_tiles * product.columns.div_ceil(32);
    let tiles = batch_tiles * product.batches();
    let groups = fold(tiles);
    let steps_in_all = steps * product.added();
    let shape = Shape { steps: steps_in_all, line_tiles, tiles, grid_width: groups[0], ..shape };
    let mut constants = product.constants([4; 3], batch_tiles, steps);
    constants.extend([
        ("ROWS", rows),
        ("GROUPS", rows.div_ceil(rows_per_load)),
        ("ACCUMULATE", shape.accumulate),
        ("PADDED", u32::from(!product.columns.is_multiple_of(4))),
        ("TAIL", u32::from(!product.inner.is_multiple_of(4))),
    ]);
    let template = Template { name, source, constants, aliases: vec![] };
    AnyLaunch::from(Launch { template, shape, groups }).finishing(4)
}

macro_rules! text {
    ($name:literal) => {
        (
            $name,
            concat!(
                include_str!("../../../../shaders/shared/product.wgsl"),
                include_str!(concat!("../../../../shaders/ops/", $name, ".wgsl"))
            ),
        )
    };
}

/// Whether the inner dimension runs along the rows of both matrices.
pub(super) fn fits_nt(product: &Product) -> bool {
    fits(product, 0)
}

/// `left * transpose(right) + bias`. Bindings: left, right, bias (or right again), output.
pub(super) fn nt(product: &Product, parts: Parts, first_part: u32, accumulate: bool) -> AnyLaunch {
    let shape = product.shape([4; 3], parts, first_part, accumulate);
    launch(product, text!("matmul_nt"), [tile_rows(product.rows), 8, product.inner.div_ceil(4)], shape)
}

/// Whether the inner dimension runs along the rows of the left matrix, and columns along those of the right one.
pub(super) fn fits_nn(product: &Product) -> bool {
    fits(product, 1)
}

/// `left * right`. Bindings: left, right, output.
pub(super) fn nn(product: &Product, parts: Parts, first_part: u32, accumulate: bool) -> AnyLaunch {
    let shape = product.shape([4; 3], parts, first_part, accumulate);
    launch(product, text!("matmul_nn"), [tile_rows(product.rows), 8, product.inner.div_ceil(4)], shape)
}

/// Whether rows run along the rows of the stored left matrix, and columns along those of the right one.
pub(super) fn fits_tn(product: &Product) -> bool {
    fits(product, 2)
}

/// `transpose(left) * right`, of a left matrix that is stored as `[inner, rows]`. Bindings: left, right, output.
pub(super) fn tn(product: &Product, parts: Parts, first_part: u32, accumulate: bool) -> AnyLaunch {
    launch_tn(product, parts, (first_part, accumulate), [0, 0])
}

/// How the inner dimension of [`tn`] is split, in elements.
fn elements(product: &Product) -> Parts {
    Parts::of(product.inner * product.added(), 1)
}

/// Whether [`tn_summing`] is what computes a product, in one part.
pub(super) fn fits_tn_summing(product: &Product) -> bool {
    let first = !fits_nt(product) && !fits_nn(product) && fits_tn(product);
    first && product.batch.is_empty() && elements(product).count == 1
}

/// As [`tn`], of a product in one part, with the sums of the left matrix over the inner dimension, which it writes or
/// adds. Bindings: left, right, output, sums.
pub(super) fn tn_summing(product: &Product, accumulate: bool, add_sums: bool) -> AnyLaunch {
    launch_tn(product, elements(product), (0, accumulate), [1, u32::from(add_sums)])
}

fn launch_tn(
    product: &Product,
    parts: Parts,
    (first_part, accumulate): (u32, bool),
    [sums, add_sums]: [u32; 2],
) -> AnyLaunch {
    // Without a batch the rows are mostly output features, few only in a last layer: it shares the pipeline of others.
    let rows = if product.batch.is_empty() { TILE } else { tile_rows(product.rows).max(4) };
    let shape = product.shape([4; 3], parts, first_part, accumulate);
    let mut launch = launch(product, text!("matmul_tn"), [rows, 32, product.inner], shape);
    launch.template.constants.extend([("SUMS", sums), ("ADD_SUMS", add_sums)]);
    launch
}
