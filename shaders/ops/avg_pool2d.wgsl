// The mean of each window. Sizes are constants, as in max_pool2d.wgsl.
struct Shape {
    images: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.images * HEIGHT * WIDTH * QUADS {
        return;
    }
    let quad = i % QUADS;
    let column = i / QUADS % WIDTH;
    let row = i / (QUADS * WIDTH) % HEIGHT;
    let image = i / (QUADS * WIDTH * HEIGHT);
    var sum = vec4f(0.0);
    for (var ky = 0u; ky < KERNEL_HEIGHT; ky++) {
        // Rows and columns of the padding wrap to huge numbers, and are passed over like those beyond the end.
        let in_row = row * STRIDE_Y + ky - PADDING_Y;
        for (var kx = 0u; kx < KERNEL_WIDTH; kx++) {
            let in_column = column * STRIDE_X + kx - PADDING_X;
            if in_row < IN_HEIGHT && in_column < IN_WIDTH {
                sum += x[((image * IN_HEIGHT + in_row) * IN_WIDTH + in_column) * QUADS + quad];
            }
        }
    }
    y[i] = sum / divisor_of(row, column);
}
