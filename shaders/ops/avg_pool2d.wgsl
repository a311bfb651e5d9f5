// The mean of each window. Sizes are constants; large windows are TILED, see max_pool2d.wgsl.
struct Shape {
    images: u32,
    resume: u32,
    // Whether this is the last tile.
    last: u32,
    // With TILED: rows and columns of each window that this dispatch processes, counted from the first in the image.
    first_row: u32,
    end_row: u32,
    first_column: u32,
    end_column: u32,
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
    var first = vec2u();
    var end = vec2u(KERNEL_HEIGHT, KERNEL_WIDTH);
    if TILED == 1u {
        let inside = vec2u(
            first_inside(row * STRIDE_Y, PADDING_Y, DILATION_Y),
            first_inside(column * STRIDE_X, PADDING_X, DILATION_X),
        );
        first = inside + vec2u(shape.first_row, shape.first_column);
        end = min(inside + vec2u(shape.end_row, shape.end_column), end);
    }
    for (var ky = first.x; ky < end.x; ky++) {
        // Rows and columns in the padding before the image wrap to large numbers, and are skipped like those after
        // its end.
        let in_row = row * STRIDE_Y + ky - PADDING_Y;
        for (var kx = first.y; kx < end.y; kx++) {
            let in_column = column * STRIDE_X + kx - PADDING_X;
            if in_row < IN_HEIGHT && in_column < IN_WIDTH {
                sum += x[((image * IN_HEIGHT + in_row) * IN_WIDTH + in_column) * QUADS + quad];
            }
        }
    }
    if TILED == 1u && shape.resume == 1u {
        sum += y[i];
    }
    y[i] = sum / select(divisor_of(row, column), 1.0, TILED == 1u && shape.last == 0u);
}
