// output = left * transpose(right) + bias for CPU adapters: the eight lanes of a subgroup hold four columns each,
// and the left matrix is loaded by one lane and broadcast to all.
//
// What becomes of the sums is in `finish`, which is appended. `inner` is a multiple of 4 for the unpadded right matrix. Constants: ROWS of the tile, GROUPS of eight rows.
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
    has_bias: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> left: array<vec4f>;
@group(0) @binding(2) var<storage, read> right: array<vec4f>;
@group(0) @binding(3) var<storage, read> bias: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> output: array<vec4f>;

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
    let part = shape.first_part + group.z;
    let has_bias = shape.has_bias == 1u && part == 0u;
    let start = select(vec4f(), bias[select(0u, safe_vector, has_bias)], has_bias);
    #for m in 0..ROWS
    acc[$m] = start;
    #end
    var left_at: array<u32, GROUPS>;
    #for g in 0..GROUPS
    left_at[$g] = min(row + $g * 8u + lane, shape.rows - 1u) * shape.left_vectors;
    #end
    // Columns past the end are the padding of the output, which stays zero.
    var right_at: array<u32, 4>;
    var column_inside: array<bool, 4>;
    #for j in 0..4
    right_at[$j] = min(column + $j, shape.columns - 1u) * shape.right_vectors;
    column_inside[$j] = column + $j < shape.columns;
    #end

    let first = part * shape.run;
    let end = min(first + shape.run, shape.right_vectors);
    for (var k = first; k < end; k++) {
        var a: array<vec4f, GROUPS>;
        #for g in 0..GROUPS
        a[$g] = left[left_at[$g] + k];
        #end
        var q: array<vec4f, 4>;
        #for j in 0..4
        q[$j] = select(vec4f(), right[right_at[$j] + k], column_inside[$j]);
        #end
        var b: array<vec4f, 4>;
        #for c in 0..4
        b[$c] = vec4f(q[0][$c], q[1][$c], q[2][$c], q[3][$c]);
        #end
        #for m in 0..ROWS
        #for c in 0..4
        acc[$m] = fma(vec4f(subgroupBroadcast(a[$m / 8u][$c], $m % 8u)), b[$c], acc[$m]);
        #end
        #end
    }

    // Past the last row, a row takes the address of the last one. Stores go from the last row to the first, so
    // the right value stays, and no store needs a condition of its own.
    var out_at: array<u32, ROWS>;
    #for m in 0..ROWS
    out_at[$m] = group.z * shape.part_len + min(row + $m, shape.rows - 1u) * shape.out_vectors + safe_vector;
    #end
    if vector < shape.out_vectors {
        #for m in 0..ROWS
        output[out_at[ROWS - 1u - $m]] = finish(out_at[ROWS - 1u - $m], acc[ROWS - 1u - $m]);
        #end
    }
}
