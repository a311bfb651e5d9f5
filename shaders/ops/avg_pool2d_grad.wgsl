// Gathers, for each input, its part of the gradients of the windows that hold it.
struct Shape {
    images: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.images * IN_HEIGHT * IN_WIDTH * QUADS {
        return;
    }
    let quad = i % QUADS;
    let column = i / QUADS % IN_WIDTH + PADDING_X;
    let row = i / (QUADS * IN_WIDTH) % IN_HEIGHT + PADDING_Y;
    let image = i / (QUADS * IN_WIDTH * IN_HEIGHT);
    var sum = vec4f(0.0);
    // From the last window that begins at this element or before it.
    for (var wy = 0u; wy < (KERNEL_HEIGHT + STRIDE_Y - 1u) / STRIDE_Y; wy++) {
        // A window before the first has wrapped to a huge number.
        let oy = row / STRIDE_Y - wy;
        for (var wx = 0u; wx < (KERNEL_WIDTH + STRIDE_X - 1u) / STRIDE_X; wx++) {
            let ox = column / STRIDE_X - wx;
            let inside = row - oy * STRIDE_Y < KERNEL_HEIGHT && column - ox * STRIDE_X < KERNEL_WIDTH;
            if inside && oy < HEIGHT && ox < WIDTH {
                sum += dy[((image * HEIGHT + oy) * WIDTH + ox) * QUADS + quad] / divisor_of(oy, ox);
            }
        }
    }
    if shape.accumulate != 0u {
        sum += dx[i];
    }
    dx[i] = sum;
}
