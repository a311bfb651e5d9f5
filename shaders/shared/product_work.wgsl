// The work of a workgroup in a product on GPUs: one tile of the output of one matrix, in one part.
//
// Constants: TILE_ROWS and TILE_COLUMNS, BATCH_TILES per matrix.
@group(0) @binding(3) var<storage, read> bias: array<f32>;

struct Work {
    // Offsets of left matrix, right matrix and output.
    origin: vec3u,
    has_bias: bool,
    // The first quad of rows and of columns.
    row: u32,
    column: u32,
    // The range of steps.
    first: u32,
    end: u32,
}

// The work of the workgroup at this position of the grid. It must have a tile.
fn work_of(group: vec3u) -> Work {
    var tile = group.y * shape.grid_width + group.x;
    var batch = 0u;
    if BATCH_AXES > 0u {
        batch = tile / BATCH_TILES;
        tile = tile % BATCH_TILES;
    }
    let part = shape.first_part + group.z;
    let first = part * shape.run;
    return Work(
        origins(batch) + vec3u(0u, 0u, group.z * shape.part_len),
        shape.has_bias == 1u && part == 0u,
        tile % shape.line_tiles * (TILE_ROWS / 4u),
        tile / shape.line_tiles * (TILE_COLUMNS / 4u),
        first,
        min(first + shape.run, shape.steps)
    );
}

fn bias_of(work: Work, quad: u32) -> vec4f {
    if !work.has_bias {
        return vec4f();
    }
    // There is no bias past the last column, and the sums there are not stored.
    let at = min(vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(shape.columns - 1u));
    return vec4f(bias[at.x], bias[at.y], bias[at.z], bias[at.w]);
}
