// output = left * right + bias on any device: both factors can be transposed, and rows can have any length. Each
// invocation computes four rows and four columns. Distances are in elements. The sums are passed to `finish`, which
// is appended.
//
// Constants: BATCH_TILES per matrix, STEPS per repeat.
@group(0) @binding(1) var<storage, read> left: array<f32>;
@group(0) @binding(2) var<storage, read> right: array<f32>;
@group(0) @binding(3) var<storage, read> bias: array<f32>;
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    var tile = (group.y * shape.grid_width + group.x) * 64u + id.x;
    if tile >= shape.tiles {
        return;
    }
    var batch = 0u;
    if BATCH_AXES > 0u {
        batch = tile / BATCH_TILES;
        tile = tile % BATCH_TILES;
    }
    let origin = origins(batch);
    let column = tile % shape.line_tiles * 4u;
    let row = tile / shape.line_tiles * 4u;

    let part = shape.first_part + group.z;
    let first = part * shape.run;
    let end = min(first + shape.run, shape.steps);
    var left_at: array<u32, 4>;
    var right_at: array<u32, 4>;
    #for i in 0..4
    left_at[$i] = origin.x + min(row + $i, shape.rows - 1u) * shape.left_row;
    right_at[$i] = origin.y + min(column + $i, shape.columns - 1u) * shape.right_column;
    #end
    var sum: array<vec4f, 4>;
    for (var k = first; k < end; k++) {
        var at = vec2u(k) * vec2u(shape.left_inner, shape.right_inner);
        if REPEAT_AXES > 0u {
            at = repeated(k / STEPS) + vec2u(k % STEPS) * vec2u(shape.left_inner, shape.right_inner);
        }
        let b = vec4f(
            right[right_at[0] + at.y], right[right_at[1] + at.y], right[right_at[2] + at.y], right[right_at[3] + at.y]
        );
        #for i in 0..4
        sum[$i] = fma(vec4f(left[left_at[$i] + at.x]), b, sum[$i]);
        #end
    }
    #for i in 0..4
    if row + $i < shape.rows {
        let at = origin.z + group.z * shape.part_len + (row + $i) * shape.out_row + column;
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
        // If `finish` does anything, rows are whole vec4s.
        let finished = finish(at / 4u, value);
        #for j in 0..4
        if column + $j < shape.out_width {
            output[at + $j] = finished[$j];
        }
        #end
    }
    #end
}
