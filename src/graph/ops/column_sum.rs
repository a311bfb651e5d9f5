//! Sums of the columns of an activation: the gradient of a bias.

use super::split::Parts;
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::uniform;
use crate::graph::lower::{Lowering, Operand};
use crate::graph::shape::pitch;
use crate::graph::template::{Launch, Template, fold};

/// Emits the sums of the columns of `dy` into the gradient of a parameter, which they are written to or added to.
pub(super) fn emit(
    lowering: &mut Lowering,
    layer: &str,
    rows: u32,
    columns: u32,
    dy: Operand,
    (sums, adds): (Operand, bool),
) {
    // A dispatch costs a CPU adapter as much as a thousand rows, and it has few lanes to keep busy.
    let most = if lowering.capabilities.is_cpu { 1024 } else { 256 };
    let (mut from, mut left) = (dy, rows);
    loop {
        let parts = column_sum_parts(left, columns, most);
        if parts == 1 {
            break;
        }
        let partial = lowering.scratch("partial column sums", parts as usize * pitch(columns) as usize);
        lowering.launch(layer, &[Read, ReadWrite], &[from, partial], column_sum(left, columns, parts, false));
        (from, left) = (partial, parts);
    }
    lowering.launch(layer, &[Read, ReadWrite], &[from, sums], column_sum(left, columns, 1, adds));
}

uniform! {
    pub(crate) struct Shape {
        rows: u32,
        vectors: u32,
        columns: u32,
        rows_per_part: u32,
        parts: u32,
        out_pitch: u32,
        accumulate: u32,
        grid_width: u32,
    }
}

/// Runs of rows that a column sum is cut into: one up to `most` rows.
fn column_sum_parts(rows: u32, columns: u32, most: u32) -> u32 {
    if rows <= most {
        return 1;
    }
    let rows_per_part = rows.div_ceil((2048 / columns.div_ceil(4)).clamp(4, 256)).max(32);
    rows.div_ceil(Parts::of(rows_per_part, 1).run)
}

/// Sums of the columns of an activation. With more than one part, the output is `[parts, pitch]` and a second
/// launch, over `parts` rows, goes on until there is one part. Bindings: input, output.
fn column_sum(rows: u32, columns: u32, parts: u32, accumulate: bool) -> Launch<Shape> {
    let vectors = pitch(columns) / 4;
    let rows_per_part = rows.div_ceil(parts);
    let groups = fold((vectors * parts).div_ceil(8));
    let shape = Shape {
        rows,
        vectors,
        // The sums of padding are zero, and the second launch reads them.
        columns: if parts > 1 { vectors * 4 } else { columns },
        rows_per_part,
        parts,
        out_pitch: vectors * 4,
        accumulate: u32::from(accumulate),
        grid_width: groups[0],
    };
    let template = Template {
        name: "column_sum",
        source: include_str!("../../../shaders/ops/column_sum.wgsl"),
        constants: vec![],
        aliases: vec![],
    };
    Launch { template, shape, groups }
}
