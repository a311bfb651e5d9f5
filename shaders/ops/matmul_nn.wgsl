// output = left * right for CPU adapters: the eight lanes of a subgroup hold four columns each, and the left
// matrix is loaded by one lane and broadcast to all.
//
// `columns` is a multiple of 4. Constants: ROWS of the tile, ACCUMULATE, GROUPS of eight rows.
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
    // The parts of a long sum are workgroups along z: vec4s of the inner dimension that each sums, the number of the
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
    left_at[$g] = min(row + $g * 8u + lane, shape.rows - 1u) * shape.left_vectors;
    #end

    let first = (shape.first_part + group.z) * shape.run;
    let end = min(first + shape.run, shape.left_vectors);
    for (var k = first; k < end; k++) {
        var a: array<vec4f, GROUPS>;
        #for g in 0..GROUPS
        a[$g] = left[left_at[$g] + k];
        #end
        var b: array<vec4f, 4>;
        #for c in 0..4
        // The left row is zero past `inner`, where the right matrix has no row.
        b[$c] = right[min(k * 4u + $c, shape.inner - 1u) * shape.right_vectors + safe_vector];
        #end
        #for m in 0..ROWS
        #for c in 0..4
        acc[$m] = fma(vec4f(subgroupBroadcast(a[$m / 8u][$c], $m % 8u)), b[$c], acc[$m]);
        #end
        #end
    }

    if vector < shape.out_vectors {
        #for m in 0..ROWS
        output[out_at[ROWS - 1u - $m]] = acc[ROWS - 1u - $m];
        #end
    }
}
