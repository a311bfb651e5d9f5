// Input gradient of a depthwise convolution at any stride and dilation: each invocation gathers one pixel and four
// channels. Constants: SPLIT for a long sum in parts, which are workgroups along z; STRIDE_Y and STRIDE_X, by which
// each tap is divided.
struct Shape {
    height: u32,
    width: u32,
    channel_vectors: u32,
    out_height: u32,
    out_width: u32,
    kernel_height: u32,
    kernel_width: u32,
    pad_y: i32,
    pad_x: i32,
    dilation_y: u32,
    dilation_x: u32,
    len: u32,
    grid_width: u32,
    accumulate: u32,
    // With SPLIT: rows and columns of the kernel per part, number of parts along the columns, and the first part of
    // this dispatch.
    rows_per_part: u32,
    columns_per_part: u32,
    column_parts: u32,
    first_part: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> output_grad: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> input_grad: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let index = (group.y * shape.grid_width + group.x) * 64u + id.x;
    if index >= shape.len {
        return;
    }
    let channel = index % shape.channel_vectors;
    let pixel = index / shape.channel_vectors;
    let x = pixel % shape.width;
    let y = pixel / shape.width % shape.height;
    let image = pixel / (shape.width * shape.height);

    let stride_y = i32(STRIDE_Y);
    let stride_x = i32(STRIDE_X);
    // The bias of a transposed convolution, or zeros.
    var sum = weight[shape.kernel_height * shape.kernel_width * shape.channel_vectors + channel];
    var first = vec2u();
    var end = vec2u(shape.kernel_height, shape.kernel_width);
    if SPLIT == 1u {
        let part = shape.first_part + group.z;
        let per_part = vec2u(shape.rows_per_part, shape.columns_per_part);
        first = vec2u(part / shape.column_parts, part % shape.column_parts) * per_part;
        end = min(first + per_part, end);
        sum = select(vec4f(), sum, part == 0u);
    }
    for (var ky = first.x; ky < end.x; ky++) {
        let from_y = i32(y) + shape.pad_y - i32(ky * shape.dilation_y);
        let out_y = from_y / stride_y;
        let row_meets = from_y >= 0 && out_y * stride_y == from_y && out_y < i32(shape.out_height);
        if row_meets {
            let row_at = (image * shape.out_height + u32(out_y)) * shape.out_width;
            for (var kx = first.y; kx < end.y; kx++) {
                let from_x = i32(x) + shape.pad_x - i32(kx * shape.dilation_x);
                let out_x = from_x / stride_x;
                if from_x >= 0 && out_x * stride_x == from_x && out_x < i32(shape.out_width) {
                    let tap = weight[(ky * shape.kernel_width + kx) * shape.channel_vectors + channel];
                    sum = fma(output_grad[(row_at + u32(out_x)) * shape.channel_vectors + channel], tap, sum);
                }
            }
        }
    }
    if shape.accumulate == 1u {
        sum += input_grad[index];
    }
    input_grad[group.z * shape.len + index] = sum;
}
