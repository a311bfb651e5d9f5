//! Products on CPU adapters with subgroups: register tiles, one for each way that the matrices can lie.
//!
//! A tile has four columns for each lane, so its width is that of the subgroups. A sum is of one lane and ascends along the
//! inner dimension, whatever that width is.

use super::{Product, Shape};
use crate::gpu::Capabilities;
use crate::graph::ops::split::{Parts, even_tile};
use crate::graph::template::{AnyLaunch, Launch, Template, excess, fold};

/// Rows of the widest tile but for large products, which run up to 15% faster with twice as many: their kernel takes three
/// times as long to compile. Not so in [`nn`].
const TILE: u32 = 32;

/// Products of one element each from which a product is large.
const LARGE: u64 = 1 << 27;

/// Rows of the widest tile of a product.
fn widest(product: &Product) -> u32 {
    if terms(product) >= LARGE { 2 * TILE } else { TILE }
}

/// Products of one element each, in all.
fn terms(product: &Product) -> u64 {
    let sizes = [product.rows, product.columns, product.inner, product.batches(), product.added()];
    sizes.into_iter().map(u64::from).product()
}

/// Products of one element each up to which a product is small: about 20 us, of which its tile makes no difference that
/// could pay for the compile time of a wide one.
const SMALL: u64 = 1 << 20;

/// Rows of a tile of a small product.
const SMALL_TILE: u32 = 8;

/// Rows of a tile: one of a few sizes, so that pipelines are shared.
fn tile_rows(product: &Product, widest: u32) -> u32 {
    let widest = if terms(product) <= SMALL { SMALL_TILE } else { widest };
    product.rows.next_power_of_two().min(widest)
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

/// What a product of one element each takes in [`nt`], in tenths; what all else takes is counted in these.
const TERM: u64 = 10;

/// The same in a kernel that goes from row to row of a factor whose rows are as far apart as pages of memory: half of the
/// time is for what the caches do not hold.
const FAR_TERM: u64 = 23;

/// Elements from one row to the next from which they are far apart.
const FAR: u32 = 768;

/// So many rows and fewer stay in the caches however far apart they are.
const HELD_ROWS: u32 = 512;

/// The same in [`tn`] where rows of both factors fall on the same few lines of the first cache.
const ALIASED_TERM: u64 = 18;

/// Whether rows so many elements apart fall there: nearly a multiple of half a page.
fn is_aliased(row: u32) -> bool {
    const HALF_PAGE: u32 = 512;
    const LINE: u32 = 16;
    row >= HALF_PAGE - LINE && (row + LINE) % HALF_PAGE < 2 * LINE
}

/// The same in the plain kernel.
const PLAIN_TERM: u64 = 40;

/// What an element of a copy takes, and a dispatch.
const COPIED: u64 = 50 * TERM;
const DISPATCH: u64 = 500_000 * TERM;

/// The copies with which tiles compute a product fastest, if that is faster than without: `lens` are the elements of left
/// factor, right factor and output.
pub(super) fn copies(product: &Product, lens: [u64; 3]) -> Option<Copies> {
    let ways = if product.has_bias { &WAYS[..1] } else { &WAYS };
    let (time, copies) =
        ways.iter().map(|way| with_copies(product, *way, lens)).min_by_key(|(time, _)| *time)?;
    let is_copied = copies.output || copies.factors != [None, None];
    (is_copied && time < PLAIN_TERM * terms(product)).then_some(copies)
}

/// The time that a product takes where the vec4s of its factors lie in one way, and the copies that are needed for that.
fn with_copies(product: &Product, way: [Quads; 2], lens: [u64; 3]) -> (u64, Copies) {
    let missing = |which: usize| (!lie(product, which, way[which])).then_some(way[which]);
    let copies = Copies { factors: [0, 1].map(missing), output: !writes_quads(product) };
    let is_copied = [copies.factors[0].is_some(), copies.factors[1].is_some(), copies.output];
    let copied = is_copied.into_iter().zip(lens).filter(|(is_copied, _)| *is_copied);
    let time: u64 = copied.map(|(_, len)| DISPATCH + COPIED * len).sum();
    // From one step of the inner dimension to the next, where that is another row.
    let rows = [(product.rows, product.left[1]), (product.columns, product.right[0])];
    let rows = (0..2).filter(|&which| way[which] == Quads::AlongEdge).map(|which| {
        let (edge, lies) = rows[which];
        if copies.factors[which].is_some() { edge.next_multiple_of(4) } else { lies }
    });
    let term = if product.inner > HELD_ROWS && rows.clone().any(|row| row >= FAR) {
        FAR_TERM
    } else if rows.filter(|row| is_aliased(*row)).count() == 2 {
        ALIASED_TERM
    } else {
        TERM
    };
    (time + term * terms(product), copies)
}

/// How the inner dimension of [`nt`] and [`nn`] is split, in vec4s.
pub(super) fn quads(product: &Product, _: &Capabilities) -> Parts {
    Parts::of(product.inner.div_ceil(4) * product.added(), 4)
}

/// Rows that a tile finishes and stores at once: each has a text of its own of what is done to the sums.
const FINISHED: u32 = 4;

/// Emits a kernel with tiles of so many rows, one of whose loads brings `rows_per_lane` for each of the lanes; `steps` are
/// those of one repeat; `has_tail` says whether four elements of the inner dimension may be more than are left.
fn launch(
    product: &Product,
    (name, source): (&'static str, &'static str),
    (lanes, [rows, rows_per_lane, steps]): (u32, [u32; 3]),
    (shape, has_tail): (Shape, bool),
) -> AnyLaunch {
    let line_tiles = product.rows.div_ceil(rows);
    let batch_tiles = line_tiles * product.columns.div_ceil(4 * lanes);
    let tiles = batch_tiles * product.batches();
    let groups = fold(tiles);
    let steps_in_all = steps * product.added();
    let shape = Shape { steps: steps_in_all, line_tiles, tiles, grid_width: groups[0], ..shape };
    let mut constants = product.constants([4; 3], batch_tiles, steps);
    constants.extend([
        ("LANES", lanes),
        ("ROWS", rows),
        ("GROUPS", rows.div_ceil(rows_per_lane * lanes)),
        ("FINISHED", rows.min(FINISHED)),
        ("ACCUMULATE", shape.accumulate),
        ("PADDED", u32::from(!product.columns.is_multiple_of(4))),
        ("TAIL", u32::from(has_tail)),
        excess(groups, tiles),
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
pub(super) fn nt(
    product: &Product,
    lanes: u32,
    parts: Parts,
    (first_part, accumulate): (u32, bool),
) -> AnyLaunch {
    // Large products are worth a pipeline of their own, with tiles that are all full.
    let rows = match widest(product) {
        TILE => tile_rows(product, TILE),
        widest => even_tile(product.rows, widest),
    };
    let shape = product.shape([4; 3], parts, first_part, accumulate);
    launch(
        product,
        text!("matmul_nt"),
        (lanes, [rows, 1, product.inner.div_ceil(4)]),
        (shape, !product.inner.is_multiple_of(4)),
    )
}

/// Whether the inner dimension runs along the rows of the left matrix, and columns along those of the right one.
pub(super) fn fits_nn(product: &Product) -> bool {
    fits(product, 1)
}

/// `left * right`. Bindings: left, right, output.
pub(super) fn nn(
    product: &Product,
    lanes: u32,
    parts: Parts,
    (first_part, accumulate): (u32, bool),
) -> AnyLaunch {
    let shape = product.shape([4; 3], parts, first_part, accumulate);
    launch(
        product,
        text!("matmul_nn"),
        (lanes, [tile_rows(product, TILE), 1, product.inner.div_ceil(4)]),
        (shape, !product.inner.is_multiple_of(4)),
    )
}

/// Whether rows run along the rows of the stored left matrix, and columns along those of the right one.
pub(super) fn fits_tn(product: &Product) -> bool {
    fits(product, 2)
}

/// `transpose(left) * right`, of a left matrix that is stored as `[inner, rows]`. Bindings: left, right, output.
pub(super) fn tn(product: &Product, lanes: u32, parts: Parts, dispatch: (u32, bool)) -> AnyLaunch {
    launch_tn(product, lanes, (parts, dispatch), [0, 0])
}

/// How the inner dimension of [`tn`] is split, in elements: parts are whole fours, which an iteration takes.
pub(super) fn elements(product: &Product, _: &Capabilities) -> Parts {
    let steps = product.inner * product.added();
    match Parts::of(steps, 1) {
        one @ Parts { count: 1, .. } => one,
        Parts { run, .. } => {
            let run = run.next_multiple_of(4);
            Parts { run, count: steps.div_ceil(run) }
        }
    }
}

/// Whether [`tn_summing`] is what computes a product, in one part.
pub(super) fn fits_tn_summing(product: &Product) -> bool {
    let first = !fits_nt(product) && !fits_nn(product) && fits_tn(product);
    let is_one_part = Parts::of(product.inner * product.added(), 1).count == 1;
    first && product.batch.is_empty() && is_one_part
}

/// Like [`tn`], of a product in one part, with the sums of the left matrix over the inner dimension, which it writes or
/// adds. Bindings: left, right, output, sums.
pub(super) fn tn_summing(product: &Product, lanes: u32, [accumulate, add_sums]: [bool; 2]) -> AnyLaunch {
    let parts = Parts::of(product.inner * product.added(), 1);
    launch_tn(product, lanes, (parts, (0, accumulate)), [1, u32::from(add_sums)])
}

fn launch_tn(
    product: &Product,
    lanes: u32,
    (parts, (first_part, accumulate)): (Parts, (u32, bool)),
    [sums, add_sums]: [u32; 2],
) -> AnyLaunch {
    // Without a batch the rows are mostly output features, few only in a last layer: it shares the pipeline of others.
    // A tile has all rows that its lanes load, because these leave the sums of what they load.
    let rows = if product.batch.is_empty() {
        widest(product).max(4 * lanes)
    } else {
        tile_rows(product, TILE).max(4)
    };
    let shape = product.shape([4; 3], parts, first_part, accumulate);
    let has_tail = ![parts.run, product.inner * product.added()].iter().all(|steps| steps.is_multiple_of(4));
    let mut launch =
        launch(product, text!("matmul_tn"), (lanes, [rows, 4, product.inner]), (shape, has_tail));
    launch.template.constants.extend([("SUMS", sums), ("ADD_SUMS", add_sums)]);
    launch
}
