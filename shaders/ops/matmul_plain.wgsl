// output = left * right that assumes nothing: either may be transposed, and a row may have any length. One
// invocation, four rows and four columns. What becomes of the sums is in `finish`, which is appended.
struct Shape {
    rows: u32,
    columns: u32,
    inner: u32,
    // Distance from a row to the next and from a column to the next.
    left_row: u32,
    left_column: u32,
    right_row: u32,
    right_column: u32,
    // Row length of the output; columns from `columns` on are set to zero.
    out_pitch: u32,
    column_tiles: u32,
    tiles: u32,
    grid_width: u32,
    has_bias: u32,
    accumulate: u32,
    // The parts of a long sum are workgroups along z: length of the inner dimension that each sums, the number of the
    // first one of this dispatch, and the distance of their outputs.
    run: u32,
    first_part: u32,
    part_len: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> left: array<f32>;
@group(0) @binding(2) var<storage, read> right: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let tile = (group.y * shape.grid_width + group.x) * 64u + id.x;
    if tile >= shape.tiles {
        return;
    }
    let column = tile % shape.column_tiles * 4u;
    let row = tile / shape.column_tiles * 4u;

    let part = shape.first_part + group.z;
    let first = part * shape.run;
    let end = min(first + shape.run, shape.inner);
    var left_at: array<u32, 4>;
    var right_at: array<u32, 4>;
    #for i in 0..4
    left_at[$i] = min(row + $i, shape.rows - 1u) * shape.left_row + first * shape.left_column;
    right_at[$i] = min(column + $i, shape.columns - 1u) * shape.right_column + first * shape.right_row;
    #end
    var sum: array<vec4f, 4>;
    for (var k = first; k < end; k++) {
        let b = vec4f(right[right_at[0]], right[right_at[1]], right[right_at[2]], right[right_at[3]]);
        #for i in 0..4
        sum[$i] = fma(vec4f(left[left_at[$i]]), b, sum[$i]);
        left_at[$i] += shape.left_column;
        right_at[$i] += shape.right_row;
        #end
    }
    #for i in 0..4
    if row + $i < shape.rows {
        let at = group.z * shape.part_len + (row + $i) * shape.out_pitch + column;
        var value = sum[$i];
        #for j in 0..4
        if column + $j < shape.columns {
            if shape.has_bias == 1u && part == 0u {
                value[$j] += bias[column + $j];
            }
            if shape.accumulate == 1u {
                value[$j] += output[at + $j];
            }
        } else {
            value[$j] = 0.0;
        }
        #end
        // Where it does anything, rows are whole vec4s.
        let finished = finish(at / 4u, value);
        #for j in 0..4
        if column + $j < shape.out_pitch {
            output[at + $j] = finished[$j];
        }
        #end
    }
    #end
}
