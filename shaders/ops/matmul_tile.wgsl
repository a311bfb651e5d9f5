// output = left * right + bias for GPUs: a workgroup sums a tile of the output, staged in workgroup memory by
// `shared/tile.wgsl`.
// What becomes of the sums is in `finish`, which is appended.
//
// Constants: those of `shared/tile.wgsl`, EDGES_EVEN if rows and columns come in whole tiles, BATCH_TILES of a
// matrix, STEPS of a repeat.
@group(0) @binding(3) var<storage, read> bias: array<f32>;

struct Work {
    // Where left matrix, right matrix and output begin.
    origin: vec3u,
    has_bias: bool,
}

fn bias_of(work: Work, quad: u32) -> vec4f {
    if !work.has_bias {
        return vec4f();
    }
    // There is no bias behind the last column, and nothing is stored that it is added to.
    let at = min(vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(shape.columns - 1u));
    return vec4f(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    var tile = group.y * shape.grid_width + group.x;
    if tile >= shape.tiles {
        return;
    }
    var batch = 0u;
    if BATCH_AXES > 0u {
        batch = tile / BATCH_TILES;
        tile = tile % BATCH_TILES;
    }
    let part = shape.first_part + group.z;
    let first = part * shape.run;
    let end = min(first + shape.run, shape.steps);
    let origin = origins(batch) + vec3u(0u, 0u, group.z * shape.part_len);
    let work = Work(origin, shape.has_bias == 1u && part == 0u);
    let row_quad = tile % shape.line_tiles * (TILE_ROWS / 4u);
    let column_quad = tile / shape.line_tiles * (TILE_COLUMNS / 4u);
    sum_tile(work, lane, row_quad, column_quad, first, end);
}
