//! Linear layers and the matrix products behind them: which kernel, with which tile and grid.
//!
//! Activations are `[rows, pitch]` with the pitch a whole number of vec4s; the weight `[out, in]` is unpadded.

use bytemuck::Zeroable;

use crate::gpu::{KernelClass, uniform};
use crate::graph::ops::split::{Epilogue, Parts};
use crate::graph::shape::pitch;
use crate::graph::template::{Launch, Template, fold};

/// Sizes of `y = x * transpose(w) + b`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) rows: u32,
    pub(crate) in_features: u32,
    pub(crate) out_features: u32,
}

/// Whether the broadcast kernels can serve: they read and write the unpadded weight as vec4s.
pub(crate) fn class(geometry: &Geometry, available: KernelClass) -> KernelClass {
    if geometry.in_features.is_multiple_of(4) { available } else { KernelClass::Plain }
}

uniform! {
    pub(crate) struct NtShape {
        rows: u32,
        columns: u32,
        inner: u32,
        left_vectors: u32,
        right_vectors: u32,
        out_vectors: u32,
        row_tiles: u32,
        tiles: u32,
        grid_width: u32,
        run: u32,
        first_part: u32,
        part_len: u32,
        has_bias: u32,
        relu: u32,
    }
}

uniform! {
    pub(crate) struct ProductShape {
        rows: u32,
        columns: u32,
        inner: u32,
        left_vectors: u32,
        right_vectors: u32,
        out_vectors: u32,
        row_tiles: u32,
        tiles: u32,
        grid_width: u32,
        run: u32,
        first_part: u32,
        part_len: u32,
    }
}

/// The products of a linear layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Product {
    Forward,
    InputGrad,
    WeightGrad,
}

/// How the sums of a product are split: into runs of what its kernel counts along the inner dimension.
pub(crate) fn parts(geometry: &Geometry, class: KernelClass, product: Product) -> Parts {
    let inner = match product {
        Product::Forward => geometry.in_features,
        Product::InputGrad => geometry.out_features,
        Product::WeightGrad => geometry.rows,
    };
    match (class, product) {
        (KernelClass::Plain, _) | (_, Product::WeightGrad) => Parts::of(inner, 1),
        (KernelClass::CpuSubgroup8, _) => Parts::of(inner.div_ceil(4), 4),
    }
}

/// As [`parts`], of the kernels for CPU adapters: vec4s, or rows of a weight gradient, in a part.
fn run(geometry: &Geometry, product: Product) -> u32 {
    parts(geometry, KernelClass::CpuSubgroup8, product).run
}

/// Rows of the widest tile: a product of 512 runs 5% faster with twice as many, whose kernel takes three times as
/// long to compile.
const TILE: u32 = 32;

/// Rows of a tile: one of a few sizes, so that pipelines are shared.
fn tile_rows(rows: u32) -> u32 {
    rows.next_power_of_two().min(TILE)
}

/// Rows, columns and inner length of a product, spread over tiles.
struct Tiling {
    rows: u32,
    row_tiles: u32,
    tiles: u32,
    groups: [u32; 2],
}

impl Tiling {
    fn new(tile: u32, rows: u32, columns: u32) -> Self {
        let row_tiles = rows.div_ceil(tile);
        let tiles = row_tiles * columns.div_ceil(32);
        Self { rows: tile, row_tiles, tiles, groups: fold(tiles) }
    }

    fn template(&self, name: &'static str, source: &'static str, rows_per_load: u32) -> Template {
        let constants = vec![("ROWS", self.rows), ("GROUPS", self.rows.div_ceil(rows_per_load))];
        Template { name, source, constants, aliases: vec![] }
    }
}

/// `y = x * transpose(w) + b` on a CPU adapter; input features a multiple of 4. Bindings: x, w, b (or w again), y.
pub(crate) fn forward(
    geometry: &Geometry,
    has_bias: bool,
    first_part: u32,
    epilogue: Epilogue,
) -> Launch<NtShape> {
    let tiling = Tiling::new(tile_rows(geometry.rows), geometry.rows, geometry.out_features);
    let shape = NtShape {
        rows: geometry.rows,
        columns: geometry.out_features,
        inner: geometry.in_features,
        left_vectors: pitch(geometry.in_features) / 4,
        right_vectors: geometry.in_features / 4,
        out_vectors: pitch(geometry.out_features) / 4,
        row_tiles: tiling.row_tiles,
        tiles: tiling.tiles,
        grid_width: tiling.groups[0],
        run: run(geometry, Product::Forward),
        first_part,
        part_len: geometry.rows * pitch(geometry.out_features) / 4,
        has_bias: u32::from(has_bias),
        relu: u32::from(epilogue.relu),
    };
    let template = tiling.template("matmul_nt", include_str!("../../../../shaders/ops/matmul_nt.wgsl"), 8);
    Launch { template, shape, groups: tiling.groups }
}

/// `dx = dy * w` on a CPU adapter; input features a multiple of 4. Bindings: dy, w, dx.
pub(crate) fn input_grad(geometry: &Geometry, first_part: u32, epilogue: Epilogue) -> Launch<ProductShape> {
    let tiling = Tiling::new(tile_rows(geometry.rows), geometry.rows, geometry.in_features);
    let shape = ProductShape {
        rows: geometry.rows,
        columns: geometry.in_features,
        inner: geometry.out_features,
        left_vectors: pitch(geometry.out_features) / 4,
        right_vectors: geometry.in_features / 4,
        out_vectors: geometry.in_features / 4,
        row_tiles: tiling.row_tiles,
        tiles: tiling.tiles,
        grid_width: tiling.groups[0],
        run: run(geometry, Product::InputGrad),
        first_part,
        part_len: geometry.rows * geometry.in_features / 4,
    };
    let mut template =
        tiling.template("matmul_nn", include_str!("../../../../shaders/ops/matmul_nn.wgsl"), 8);
    template.constants.push(("ACCUMULATE", u32::from(epilogue.accumulate)));
    Launch { template, shape, groups: tiling.groups }
}

/// `dw = transpose(dy) * x` on a CPU adapter; input features a multiple of 4. Bindings: dy, x, dw.
pub(crate) fn weight_grad(geometry: &Geometry, first_part: u32, epilogue: Epilogue) -> Launch<ProductShape> {
    // The rows are the output features, which are few only in a last layer: it shares the pipeline of the others.
    let tiling = Tiling::new(TILE, geometry.out_features, geometry.in_features);
    let shape = ProductShape {
        rows: geometry.out_features,
        columns: geometry.in_features,
        inner: geometry.rows,
        left_vectors: pitch(geometry.out_features) / 4,
        right_vectors: geometry.in_features / 4,
        out_vectors: geometry.in_features / 4,
        row_tiles: tiling.row_tiles,
        tiles: tiling.tiles,
        grid_width: tiling.groups[0],
        run: run(geometry, Product::WeightGrad),
        first_part,
        part_len: geometry.out_features * geometry.in_features / 4,
    };
    let mut template =
        tiling.template("matmul_tn", include_str!("../../../../shaders/ops/matmul_tn.wgsl"), 32);
    template.constants.push(("ACCUMULATE", u32::from(epilogue.accumulate)));
    Launch { template, shape, groups: tiling.groups }
}

uniform! {
    pub(crate) struct PlainShape {
        rows: u32,
        columns: u32,
        inner: u32,
        left_row: u32,
        left_column: u32,
        right_row: u32,
        right_column: u32,
        out_pitch: u32,
        column_tiles: u32,
        tiles: u32,
        grid_width: u32,
        has_bias: u32,
        relu: u32,
        accumulate: u32,
        run: u32,
        first_part: u32,
        part_len: u32,
    }
}

/// A product of strided matrices. Bindings: left, right, bias (or right again), output.
fn plain(mut shape: PlainShape, first_part: u32, epilogue: Epilogue) -> Launch<PlainShape> {
    shape.run = Parts::of(shape.inner, 1).run;
    shape.first_part = first_part;
    shape.part_len = pitch(shape.rows * shape.out_pitch);
    shape.relu = u32::from(epilogue.relu);
    shape.accumulate = u32::from(epilogue.accumulate);
    shape.column_tiles = shape.out_pitch.div_ceil(4);
    shape.tiles = shape.column_tiles * shape.rows.div_ceil(4);
    let groups = fold(shape.tiles.div_ceil(64));
    shape.grid_width = groups[0];
    let template = Template {
        name: "matmul_plain",
        source: include_str!("../../../../shaders/ops/matmul_plain.wgsl"),
        constants: vec![],
        aliases: vec![],
    };
    Launch { template, shape, groups }
}

/// `y = x * transpose(w) + b` anywhere. Bindings: x, w, b (or w again), y.
pub(crate) fn forward_plain(
    geometry: &Geometry,
    has_bias: bool,
    first_part: u32,
    epilogue: Epilogue,
) -> Launch<PlainShape> {
    let shape = PlainShape {
        rows: geometry.rows,
        columns: geometry.out_features,
        inner: geometry.in_features,
        left_row: pitch(geometry.in_features),
        left_column: 1,
        right_row: 1,
        right_column: geometry.in_features,
        out_pitch: pitch(geometry.out_features),
        has_bias: u32::from(has_bias),
        ..PlainShape::zeroed()
    };
    plain(shape, first_part, epilogue)
}

/// `dx = dy * w` anywhere. Bindings: dy, w, w again, dx.
pub(crate) fn input_grad_plain(
    geometry: &Geometry,
    first_part: u32,
    epilogue: Epilogue,
) -> Launch<PlainShape> {
    let shape = PlainShape {
        rows: geometry.rows,
        columns: geometry.in_features,
        inner: geometry.out_features,
        left_row: pitch(geometry.out_features),
        left_column: 1,
        right_row: geometry.in_features,
        right_column: 1,
        out_pitch: pitch(geometry.in_features),
        ..PlainShape::zeroed()
    };
    plain(shape, first_part, epilogue)
}

/// `dw = transpose(dy) * x` anywhere. Bindings: dy, x, x again, dw.
pub(crate) fn weight_grad_plain(
    geometry: &Geometry,
    first_part: u32,
    epilogue: Epilogue,
) -> Launch<PlainShape> {
    let shape = PlainShape {
        rows: geometry.out_features,
        columns: geometry.in_features,
        inner: geometry.rows,
        left_row: 1,
        left_column: pitch(geometry.out_features),
        right_row: pitch(geometry.in_features),
        right_column: 1,
        out_pitch: geometry.in_features,
        ..PlainShape::zeroed()
    };
    plain(shape, first_part, epilogue)
}
