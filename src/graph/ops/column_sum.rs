//! Sums of the columns of an activation: the gradient of a bias.

use super::split::Parts;
use crate::gpu::Binding::{Read, ReadWrite};
use crate::gpu::{Capabilities, uniform};
use crate::graph::lowering::{Lowering, Operand, source};
use crate::graph::shape::pitch;
use crate::graph::team::{SUM, Shared, Team, Walk};
use crate::graph::template::expand;

/// Emits the sums of the columns of `dy`, written or added to the gradient of a parameter.
pub(super) fn emit(
    lowering: &mut Lowering,
    layer: &str,
    rows: u32,
    columns: u32,
    dy: Operand,
    (sums, adds): (Operand, bool),
) {
    let (mut from, mut left) = (dy, rows);
    loop {
        let (team, parts) = shared(left, columns, &lowering.capabilities);
        let last = parts == 1;
        let len = parts as usize * pitch(columns) as usize;
        let to = if last { sums } else { lowering.scratch("partial column sums", len) };
        let accumulate = u32::from(last && adds);
        launch(
            lowering,
            layer,
            team,
            [from, to],
            Shape { rows: left, parts, accumulate, ..shape(columns, last) },
        );
        if last {
            return;
        }
        (from, left) = (to, parts);
    }
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
    }
}

/// How many lanes share a sum, and how many rows each run has.
fn shared(rows: u32, columns: u32, offered: &Capabilities) -> (Team, u32) {
    let vectors = pitch(columns) as usize / 4;
    let walk = Walk { lines: vectors, count: rows as usize, side: vectors };
    if let Some(Shared { team, parts }) = Shared::choose(&walk, offered) {
        // With runs of equal length there can be fewer runs.
        let run = rows.div_ceil(u32::try_from(parts).expect("there are fewer parts than rows"));
        return (team, rows.div_ceil(run));
    }
    // A dispatch costs a CPU adapter as much as a thousand rows, and it has few lanes to occupy.
    let most = if offered.is_cpu { 1024 } else { 256 };
    if rows <= most {
        return (Team::alone(8), 1);
    }
    let rows_per_part = rows.div_ceil((2048 / columns.div_ceil(4)).clamp(4, 256)).max(32);
    (Team::alone(8), rows.div_ceil(Parts::of(rows_per_part, 1).run))
}

fn shape(columns: u32, last: bool) -> Shape {
    let vectors = pitch(columns) / 4;
    // The sums of padding are zero, and the next dispatch reads them.
    let columns = if last { columns } else { vectors * 4 };
    Shape { vectors, columns, out_pitch: vectors * 4, ..Shape::default() }
}

/// Emits sums over runs of rows, `[parts, pitch]` unless there is one.
fn launch(lowering: &mut Lowering, layer: &str, team: Team, operands: [Operand; 2], shape: Shape) {
    let text = [include_str!("../../../shaders/ops/column_sum.wgsl"), &team.text(&[SUM])].concat();
    let kernel = source::<Shape>("column_sum", expand(&text, &team.constants(), &[]), &[Read, ReadWrite]);
    let work = shape.vectors as usize * shape.parts as usize;
    let rows_per_part = shape.rows.div_ceil(shape.parts);
    lowering.emit(layer, kernel, team.grid(work), &operands, Shape { rows_per_part, ..shape });
}
