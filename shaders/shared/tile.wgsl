// A tile of a product, summed by one workgroup. TILE_STEPS steps of both factors at a time are staged in workgroup
// memory, one step after the other. Each invocation multiplies ROW_QUADS quads of rows with COLUMN_QUADS quads of
// columns, while the next steps are loaded. Each sum starts at zero and adds the steps in order with one fma each, so
// its bits do not depend on the tile.
//
// Source: the tiles of ggml's Vulkan `mul_mm` and Nath et al. 2010, "An Improved MAGMA GEMM for Fermi GPUs".
//
// Constants: TILE_ROWS, TILE_COLUMNS, TILE_STEPS, ROW_QUADS and COLUMN_QUADS per invocation, LANES of the workgroup;
// STEPS_EVEN if all steps are whole tiles.
//
// A kernel joins it with one text per factor, `tile_left_quads` or `tile_left_blocks` and the same for `right`. It
// supplies `Work`, the description of a workgroup's tile; `bias_of(work, quad)`, the four numbers of a quad of
// columns; and `put(work, row, quad, sum, bias)`, which stores four sums of a row.
const LEFT_PITCH: u32 = TILE_ROWS / 4u + 1u;
const RIGHT_PITCH: u32 = TILE_COLUMNS / 4u + 1u;
// Distance between the quads of rows, and of columns, of one invocation; adjacent invocations start with adjacent
// quads.
const ROW_STRIDE: u32 = TILE_ROWS / 4u / ROW_QUADS;
const COLUMN_STRIDE: u32 = TILE_COLUMNS / 4u / COLUMN_QUADS;

// One quad more per step, so that invocations that store along the steps use different banks.
var<workgroup> left_tile: array<vec4f, TILE_STEPS * LEFT_PITCH>;
var<workgroup> right_tile: array<vec4f, TILE_STEPS * RIGHT_PITCH>;

// Sums of four rows by four columns.
struct Rows {
    #for r in 0..4
    row$r: vec4f,
    #end
}

struct Columns {
    #for g in 0..ROW_QUADS
    rows$g: Rows,
    #end
}

struct Sums {
    #for c in 0..COLUMN_QUADS
    columns$c: Columns,
    #end
}

// Adds the products of one step, for the quads of rows and columns from these on.
fn multiply(step: u32, row_quad: u32, column_quad: u32, sums: ptr<function, Sums>) {
    #for g in 0..ROW_QUADS
    let left$g = left_tile[step * LEFT_PITCH + row_quad + $g * ROW_STRIDE];
    #end
    #for c in 0..COLUMN_QUADS
    let right$c = right_tile[step * RIGHT_PITCH + column_quad + $c * COLUMN_STRIDE];
    #end
    #for c in 0..COLUMN_QUADS
    #for g in 0..ROW_QUADS
    #for r in 0..4
    (*sums).columns$c.rows$g.row$r = fma(vec4f(left$g[$r]), right$c, (*sums).columns$c.rows$g.row$r);
    #end
    #end
    #end
}

// Sums steps `first` to `end` of the tile whose rows and columns start with these quads, and stores the sums. All
// invocations of the workgroup call it with the same arguments, except for `lane`.
fn sum_tile(work: Work, lane: u32, first_row: u32, first_column: u32, first: u32, end: u32) {
    let left_places = left_places_of(work, first_row, lane);
    let right_places = right_places_of(work, first_column, lane);
    var left_loads = left_loads_of(left_places, lane, first, end);
    var right_loads = right_loads_of(right_places, lane, first, end);
    let column_quad = lane % COLUMN_STRIDE;
    let row_quad = lane / COLUMN_STRIDE;
    var sums: Sums;
    for (var step = first; step < end; step += TILE_STEPS) {
        // All lanes have finished reading the previous steps.
        workgroupBarrier();
        stage_left(lane, left_loads);
        stage_right(lane, right_loads);
        workgroupBarrier();
        if step + TILE_STEPS < end {
            left_loads = left_loads_of(left_places, lane, step + TILE_STEPS, end);
            right_loads = right_loads_of(right_places, lane, step + TILE_STEPS, end);
        }
        #for k in 0..TILE_STEPS
        multiply($k, row_quad, column_quad, &sums);
        #end
    }
    #for c in 0..COLUMN_QUADS
    {
        let quad = first_column + column_quad + $c * COLUMN_STRIDE;
        let bias = bias_of(work, quad);
        #for g in 0..ROW_QUADS
        {
            let row = (first_row + row_quad + $g * ROW_STRIDE) * 4u;
            let rows = sums.columns$c.rows$g;
            #for r in 0..4
            put(work, row + $r, quad, rows.row$r, bias);
            #end
        }
        #end
    }
    #end
}
