// output = transpose(left) * right for CPU adapters: the eight lanes of a subgroup hold four columns each, and the
// left matrix is loaded by one lane and broadcast to all.
//
// `columns` is a multiple of 4. Constants: ROWS of the tile, ACCUMULATE, GROUPS of thirty-two rows.
struct Shape {
    rows: u32,
    columns: u32,
    inner: u32,
    // Of vec4: in a row of the left matrix, the right one and the output.
    left_vectors: u32,
    right_vectors: u32,
    out_vectors: u32,
    row_tiles: u32,
    tiles: u32,
    grid_width: u32,
    // The parts of a long sum are workgroups along z: rows of the inner dimension that each sums, the number of the
    // first one of this dispatch, and the distance of their outputs in vec4.
    run: u32,
    first_part: u32,
    part_len: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> left: array<vec4f>;
@group(0) @binding(2) var<storage, read> right: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let lane = id.x;
    let tile = group.y * shape.grid_width + group.x;
    if tile >= shape.tiles {
        return;
    }
    let row = tile % shape.row_tiles * ROWS;
    let vector = tile / shape.row_tiles * 8u + lane;
    let column = vector * 4u;
    let safe_vector = min(vector, shape.out_vectors - 1u);

    var acc: array<vec4f, ROWS>;
    // Past the last row, a row takes the address of the last one. Stores go from the last row to the first, so
    // the right value stays, and no store needs a condition of its own.
    var out_at: array<u32, ROWS>;
    #for m in 0..ROWS
    out_at[$m] = group.z * shape.part_len + min(row + $m, shape.rows - 1u) * shape.out_vectors + safe_vector;
    #end
    if ACCUMULATE == 1u {
        #for m in 0..ROWS
        acc[$m] = output[out_at[$m]];
        #end
    }
    var left_at: array<u32, GROUPS>;
    #for g in 0..GROUPS
    left_at[$g] = min(row / 4u + $g * 8u + lane, shape.left_vectors - 1u);
    #end

    let first = (shape.first_part + group.z) * shape.run;
    let end = min(first + shape.run, shape.inner);
    for (var k = first; k < end; k += 2u) {
        #for i in 0..2
        {
            // Past the end, the last row again, times zero.
            let at = min(k + $i, end - 1u);
            let b = select(vec4f(), right[at * shape.right_vectors + safe_vector], k + $i < end);
            var a: array<vec4f, GROUPS>;
            #for g in 0..GROUPS
            a[$g] = left[at * shape.left_vectors + left_at[$g]];
            #end
            #for m in 0..ROWS
            acc[$m] = fma(vec4f(subgroupBroadcast(a[$m / 32u][$m % 4u], $m % 32u / 4u)), b, acc[$m]);
            #end
        }
        #end
    }

    if vector < shape.out_vectors {
        #for m in 0..ROWS
        output[out_at[ROWS - 1u - $m]] = acc[ROWS - 1u - $m];
        #end
    }
}
