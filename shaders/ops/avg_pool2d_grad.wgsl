// For each input, sums its share of the gradients of all windows that contain it.
struct Shape {
    images: u32,
    accumulate: u32,
    // With TILED: rows and columns of windows that this dispatch processes, counted from the last.
    first_row: u32,
    end_row: u32,
    first_column: u32,
    end_column: u32,
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
    // Starts with the last window that begins at or before this element.
    var last = vec2u(row / STRIDE_Y, column / STRIDE_X);
    var first = vec2u();
    var end = vec2u((KERNEL_HEIGHT + STRIDE_Y - 1u) / STRIDE_Y, (KERNEL_WIDTH + STRIDE_X - 1u) / STRIDE_X);
    if TILED == 1u {
        last = min(last, vec2u(HEIGHT, WIDTH) - 1u);
        first = vec2u(shape.first_row, shape.first_column);
        end = vec2u(shape.end_row, shape.end_column);
    }
    for (var wy = first.x; wy < end.x; wy++) {
        // A window before the first one has wrapped to a large number.
        let oy = last.x - wy;
        for (var wx = first.y; wx < end.y; wx++) {
            let ox = last.y - wx;
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
