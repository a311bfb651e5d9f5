// Input gradient of a convolution at any stride and dilation: each invocation gathers one pixel and four input
// channels. Constants: SPLIT for a long sum in parts, which are workgroups along z; GROUPED, and MIXED if a band of
// channels can contain channels of other groups; BIAS for a transposed convolution.
struct Shape {
    height: u32,
    width: u32,
    channel_vectors: u32,
    // Number of vec4s of channels to sum: those of a band with GROUPED, otherwise all.
    band_vectors: u32,
    group_inputs: u32,
    group_outputs: u32,
    out_height: u32,
    out_width: u32,
    out_vectors: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: i32,
    pad_x: i32,
    dilation_y: u32,
    dilation_x: u32,
    len: u32,
    grid_width: u32,
    accumulate: u32,
    // With SPLIT: rows and columns of the kernel and vec4s of channels per part, numbers of parts along the columns
    // and along the vec4s, and the first part of this dispatch.
    rows_per_part: u32,
    columns_per_part: u32,
    quads_per_part: u32,
    column_parts: u32,
    quad_parts: u32,
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

    var band_first = 0u;
    var group_first = vec4u();
    if GROUPED == 1u {
        let channels = vec4u(channel * 4u) + vec4u(0u, 1u, 2u, 3u);
        group_first = channels / shape.group_inputs * shape.group_outputs;
        band_first = group_first.x / 4u;
    }
    let inner = shape.band_vectors * 4u;
    let stride_y = i32(shape.stride_y);
    let stride_x = i32(shape.stride_x);
    var sum = vec4f();
    if BIAS == 1u {
        sum = weight[shape.kernel_height * shape.kernel_width * inner * shape.channel_vectors + channel];
    }
    var first = vec3u();
    var end = vec3u(shape.kernel_height, shape.kernel_width, shape.band_vectors);
    if SPLIT == 1u {
        let part = shape.first_part + group.z;
        let row = part / (shape.column_parts * shape.quad_parts);
        let per_part = vec3u(shape.rows_per_part, shape.columns_per_part, shape.quads_per_part);
        first = vec3u(row, part / shape.quad_parts % shape.column_parts, part % shape.quad_parts) * per_part;
        end = min(first + per_part, end);
        sum = select(vec4f(), sum, part == 0u);
    }
    if GROUPED == 1u {
        end.z = min(end.z, shape.out_vectors - band_first);
    }
    for (var ky = first.x; ky < end.x; ky++) {
        let from_y = i32(y) + shape.pad_y - i32(ky * shape.dilation_y);
        let out_y = from_y / stride_y;
        let row_meets = from_y >= 0 && out_y * stride_y == from_y && out_y < i32(shape.out_height);
        for (var kx = first.y; kx < end.y; kx++) {
            let from_x = i32(x) + shape.pad_x - i32(kx * shape.dilation_x);
            let out_x = from_x / stride_x;
            if row_meets && from_x >= 0 && out_x * stride_x == from_x && out_x < i32(shape.out_width) {
                let grad_at = ((image * shape.out_height + u32(out_y)) * shape.out_width + u32(out_x)) * shape.out_vectors + band_first;
                // The transposed weight is packed flipped.
                let tap = (shape.kernel_height - 1u - ky) * shape.kernel_width + shape.kernel_width - 1u - kx;
                let weight_at = tap * inner * shape.channel_vectors + channel;
                for (var quad = first.z; quad < end.z; quad++) {
                    let values = output_grad[grad_at + quad];
                    #for c in 0..4
                    {
                        let added = fma(vec4f(values[$c]), weight[weight_at + (quad * 4u + $c) * shape.channel_vectors], sum);
                        // A non-finite value of another group times a weight of zero would give NaN.
                        let own = vec4u((band_first + quad) * 4u + $c) - group_first < vec4u(shape.group_outputs);
                        sum = select(sum, added, own | vec4<bool>(MIXED == 0u));
                    }
                    #end
                }
            }
        }
    }
    if shape.accumulate == 1u {
        sum += input_grad[index];
    }
    input_grad[group.z * shape.len + index] = sum;
}
