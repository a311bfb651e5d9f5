// Partial sums of the weight gradient of a depthwise convolution: each invocation computes COLUMNS taps of a kernel
// row, four channels, one part. A part is a range of output rows, or one of COLUMN_PARTS parts of their columns.
//
// Constants: PIXELS of the output that are unrolled, STRIDE along a row, LOADS = pixels of an input row that they touch.
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
    // Number of runs of COLUMNS taps in a kernel row.
    column_tiles: u32,
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
    // One more than the runs of taps: the bias is treated as a tap whose input is 1.
    let runs = shape.kernel_height * shape.column_tiles + 1u;
    let channel = index % shape.channel_vectors;
    let taps = index / shape.channel_vectors % runs;
    let part = index / (shape.channel_vectors * runs);
    if part >= shape.parts {
        return;
    }
    let is_bias = taps + 1u == runs;
    let ky = taps / shape.column_tiles;
    let kx = taps % shape.column_tiles * COLUMNS;

    var sum: array<vec4f, COLUMNS>;
    let run = shape.first_part + part;
    let first = run / COLUMN_PARTS * shape.rows_per_part;
    let end = min(first + shape.rows_per_part, shape.rows);
    let first_column = run % COLUMN_PARTS * shape.columns_per_part;
    let end_column = min(first_column + shape.columns_per_part, shape.out_width);
    // After the last window of this part the input has unrelated values.
    let shift = i32(kx * shape.dilation_x) - shape.pad_x;
    let x_end = min(i32((end_column - 1u) * STRIDE + COLUMNS) + shift, i32(shape.width));
    for (var row = first; row < end; row++) {
        let y = i32(row % shape.out_height * shape.stride_y + ky * shape.dilation_y) - shape.pad_y;
        let row_inside = y >= 0 && y < i32(shape.height);
        let row_at = (row / shape.out_height * shape.height + u32(clamp(y, 0, i32(shape.height) - 1))) * shape.width;
        if is_bias || row_inside {
            for (var column = first_column; column < end_column; column += PIXELS) {
                var grads: array<vec4f, PIXELS>;
                #for p in 0..PIXELS
                {
                    let at = row * shape.out_width + min(column + $p, end_column - 1u);
                    grads[$p] = select(vec4f(), output_grad[at * shape.channel_vectors + channel], column + $p < end_column);
                }
                #end
                if is_bias {
                    #for p in 0..PIXELS
                    sum[0] += grads[$p];
                    #end
                } else {
                    var values: array<vec4f, LOADS>;
                    #for i in 0..LOADS
                    {
                        let x = i32(column * STRIDE + $i) + shift;
                        let at = row_at + u32(clamp(x, 0, i32(shape.width) - 1));
                        values[$i] = select(vec4f(), input[at * shape.channel_vectors + channel], x >= 0 && x < x_end);
                    }
                    #end
                    #for k in 0..COLUMNS
                    #for p in 0..PIXELS
                    sum[$k] = fma(values[$p * STRIDE + $k], grads[$p], sum[$k]);
                    #end
                    #end
                }
            }
        }
    }
    let rows_each = shape.kernel_height * shape.kernel_width + 1u;
    let tap = select(ky * shape.kernel_width + kx, rows_each - 1u, is_bias);
    let base = (part * rows_each + tap) * shape.channel_vectors + channel;
    partials[base] = sum[0];
    if !is_bias {
        #for k in 1..COLUMNS
        partials[base + $k * shape.channel_vectors] = sum[$k];
        #end
    }
}
