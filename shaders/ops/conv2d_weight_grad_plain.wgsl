// Partial sums of the weight gradient of a convolution on any device: each invocation computes one tap of the kernel,
// four input and four output channels, one part. A part is a range of output rows, or one of COLUMN_PARTS parts of
// their columns. With GROUPED, the input channels are those of the band of the output channels.
struct Shape {
    height: u32,
    width: u32,
    channel_vectors: u32,
    // Number of vec4s of a band with GROUPED, otherwise of all channels.
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
    rows: u32,
    rows_per_part: u32,
    columns_per_part: u32,
    // Number of the first part of this dispatch.
    first_part: u32,
    parts: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> output_grad: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4f>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let index = (group.y * shape.grid_width + group.x) * 64u + id.x;
    let taps = shape.kernel_height * shape.kernel_width;
    // One more than the taps times the vectors: the bias is treated as a tap whose input is 1.
    let vectors = taps * shape.band_vectors + 1u;
    let channel = index % shape.out_vectors;
    let vector = index / shape.out_vectors % vectors;
    let part = index / (shape.out_vectors * vectors);
    if part >= shape.parts {
        return;
    }
    let is_bias = vector + 1u == vectors;
    let tap = vector / shape.band_vectors;
    var quad = vector % shape.band_vectors;
    if GROUPED == 1u {
        // A band can be shorter; missing channels are left out of the weights.
        let band_first = channel * 4u / shape.group_outputs * shape.group_inputs / 4u;
        quad = min(band_first + quad, shape.channel_vectors - 1u);
    }
    let ky = tap / shape.kernel_width;
    let kx = tap % shape.kernel_width;

    var sum: array<vec4f, 4>;
    let run = shape.first_part + part;
    let first = run / COLUMN_PARTS * shape.rows_per_part;
    let end = min(first + shape.rows_per_part, shape.rows);
    let first_column = run % COLUMN_PARTS * shape.columns_per_part;
    let end_column = min(first_column + shape.columns_per_part, shape.out_width);
    for (var row = first; row < end; row++) {
        let y = i32(row % shape.out_height * shape.stride_y + ky * shape.dilation_y) - shape.pad_y;
        let row_inside = y >= 0 && y < i32(shape.height);
        let row_at = (row / shape.out_height * shape.height + u32(y)) * shape.width;
        for (var column = first_column; column < end_column; column++) {
            let x = i32(column * shape.stride_x + kx * shape.dilation_x) - shape.pad_x;
            let inside = row_inside && x >= 0 && x < i32(shape.width);
            if is_bias || inside {
                let grad = output_grad[(row * shape.out_width + column) * shape.out_vectors + channel];
                var values = vec4f(1.0);
                if !is_bias {
                    values = input[(row_at + u32(x)) * shape.channel_vectors + quad];
                }
                #for c in 0..4
                sum[$c] = fma(vec4f(values[$c]), grad, sum[$c]);
                #end
            }
        }
    }
    let base = (part * (taps * shape.band_vectors * 4u + 1u) + vector * 4u) * shape.out_vectors + channel;
    partials[base] = sum[0];
    if !is_bias {
        #for c in 1..4
        partials[base + $c * shape.out_vectors] = sum[$c];
        #end
    }
}
