// Convolution of NHWC activations on any device: each invocation computes one pixel and four output channels. The
// sums are passed to `finish`, which is appended. Constants: SPLIT for a long sum in parts, which are workgroups
// along z; GROUPED, and MIXED if a band of channels can contain channels of other groups.
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
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let index = (group.y * shape.grid_width + group.x) * 64u + id.x;
    if index >= shape.len {
        return;
    }
    let channel = index % shape.out_vectors;
    let pixel = index / shape.out_vectors;
    let out_x = pixel % shape.out_width;
    let out_y = pixel / shape.out_width % shape.out_height;
    let image = pixel / (shape.out_width * shape.out_height);

    var band_first = 0u;
    var group_first = vec4u();
    if GROUPED == 1u {
        let channels = vec4u(channel * 4u) + vec4u(0u, 1u, 2u, 3u);
        group_first = channels / shape.group_outputs * shape.group_inputs;
        band_first = group_first.x / 4u;
    }
    let inner = shape.band_vectors * 4u;
    var sum = weight[shape.kernel_height * shape.kernel_width * inner * shape.out_vectors + channel];
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
        end.z = min(end.z, shape.channel_vectors - band_first);
    }
    for (var ky = first.x; ky < end.x; ky++) {
        let y = i32(out_y * shape.stride_y + ky * shape.dilation_y) - shape.pad_y;
        for (var kx = first.y; kx < end.y; kx++) {
            let x = i32(out_x * shape.stride_x + kx * shape.dilation_x) - shape.pad_x;
            if y >= 0 && y < i32(shape.height) && x >= 0 && x < i32(shape.width) {
                let input_at = ((image * shape.height + u32(y)) * shape.width + u32(x)) * shape.channel_vectors + band_first;
                let weight_at = (ky * shape.kernel_width + kx) * inner * shape.out_vectors + channel;
                for (var quad = first.z; quad < end.z; quad++) {
                    let values = input[input_at + quad];
                    #for c in 0..4
                    {
                        let added = fma(vec4f(values[$c]), weight[weight_at + (quad * 4u + $c) * shape.out_vectors], sum);
                        // A non-finite value of another group times a weight of zero would give NaN.
                        let own = vec4u((band_first + quad) * 4u + $c) - group_first < vec4u(shape.group_inputs);
                        sum = select(sum, added, own | vec4<bool>(MIXED == 0u));
                    }
                    #end
                }
            }
        }
    }
    if shape.accumulate == 1u {
        sum += output[index];
    }
    output[group.z * shape.len + index] = finish(index, sum);
}
