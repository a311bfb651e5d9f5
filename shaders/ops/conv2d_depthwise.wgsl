// Depthwise convolution of NHWC activations: one invocation, four channels of PIXELS neighbours in a row. The input gradient
// at stride 1 is one too, of a flipped weight.
//
// Constants: COLUMNS of the kernel that are unrolled, STRIDE along a row, LOADS = pixels of an input row that they touch,
// SPLIT of a long sum into parts, which are workgroups along z.
// What becomes of the sums is in `finish`, which is appended.
struct Shape {
    height: u32,
    width: u32,
    channel_vectors: u32,
    out_height: u32,
    out_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    pad_y: i32,
    pad_x: i32,
    dilation_y: u32,
    dilation_x: u32,
    column_tiles: u32,
    // Invocations.
    len: u32,
    // Vec4s of a part of the output.
    out_len: u32,
    grid_width: u32,
    accumulate: u32,
    // With SPLIT: rows and columns of the kernel that a part sums, parts of the columns, and the first part of this
    // dispatch.
    rows_per_part: u32,
    columns_per_part: u32,
    column_parts: u32,
    first_part: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let index = (group.y * shape.grid_width + group.x) * 64u + id.x;
    if index >= shape.len {
        return;
    }
    let channel = index % shape.channel_vectors;
    let tile = index / shape.channel_vectors;
    let column = tile % shape.column_tiles * PIXELS;
    let row = tile / shape.column_tiles;
    let image = row / shape.out_height;

    var bias = weight[shape.kernel_height * shape.kernel_width * shape.channel_vectors + channel];
    var first = vec2u();
    var end = vec2u(shape.kernel_height, shape.kernel_width);
    if SPLIT == 1u {
        let part = shape.first_part + group.z;
        let per_part = vec2u(shape.rows_per_part, shape.columns_per_part);
        first = vec2u(part / shape.column_parts, part % shape.column_parts) * per_part;
        end = min(first + per_part, end);
        bias = select(vec4f(), bias, part == 0u);
    }
    var sum: array<vec4f, PIXELS>;
    #for p in 0..PIXELS
    sum[$p] = bias;
    #end
    for (var ky = first.x; ky < end.x; ky++) {
        let y = i32(row % shape.out_height * shape.stride_y + ky * shape.dilation_y) - shape.pad_y;
        let row_inside = y >= 0 && y < i32(shape.height);
        let row_at = (image * shape.height + u32(clamp(y, 0, i32(shape.height) - 1))) * shape.width;
        for (var kx = first.y; kx < end.y; kx += COLUMNS) {
            var values: array<vec4f, LOADS>;
            #for i in 0..LOADS
            {
                let x = i32(column * STRIDE + kx * shape.dilation_x + $i) - shape.pad_x;
                let at = (row_at + u32(clamp(x, 0, i32(shape.width) - 1))) * shape.channel_vectors + channel;
                values[$i] = select(vec4f(), input[at], row_inside && x >= 0 && x < i32(shape.width));
            }
            #end
            #for k in 0..COLUMNS
            {
                let tap = weight[(ky * shape.kernel_width + kx + $k) * shape.channel_vectors + channel];
                #for p in 0..PIXELS
                sum[$p] = fma(values[$p * STRIDE + $k], tap, sum[$p]);
                #end
            }
            #end
        }
    }
    let out_at = group.z * shape.out_len + (row * shape.out_width + column) * shape.channel_vectors + channel;
    #for p in 0..PIXELS
    if column + $p < shape.out_width {
        let at = out_at + $p * shape.channel_vectors;
        var result = sum[$p];
        if shape.accumulate == 1u {
            result += output[at];
        }
        output[at] = finish(at, result);
    }
    #end
}
