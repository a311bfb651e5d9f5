// The maximum of each window and its index in the window. Of equal elements the first in row-major order counts; NaN
// counts as larger than all elements before it, as in torch. Indices are stored as in places16.wgsl or places32.wgsl,
// one of which is appended; NONE if the window's gradient is dropped. Sizes are constants, because dividing by a
// uniform costs a CPU adapter more than everything else. TILED if windows are processed by several dispatches, each
// of which continues from the result of the previous one.
struct Shape {
    images: u32,
    relu: u32,
    resume: u32,
    // With TILED: rows and columns of each window that this dispatch processes, counted from the first in the image.
    first_row: u32,
    end_row: u32,
    first_column: u32,
    end_column: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> places: array<Places>;

// Tests bits, because compilers may assume that a number equals itself.
fn is_nan(value: vec4f) -> vec4<bool> {
    return (bitcast<vec4u>(value) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

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
    var largest = vec4f(0.0);
    var place = vec4u(NONE);
    var first = vec2u();
    var end = vec2u(KERNEL_HEIGHT, KERNEL_WIDTH);
    if TILED == 1u {
        let inside = vec2u(
            first_inside(row * STRIDE_Y, PADDING_Y, DILATION_Y),
            first_inside(column * STRIDE_X, PADDING_X, DILATION_X),
        );
        first = inside + vec2u(shape.first_row, shape.first_column);
        end = min(inside + vec2u(shape.end_row, shape.end_column), end);
        if shape.resume == 1u {
            largest = y[i];
            place = unpacked(places[i]);
        }
    }
    for (var ky = first.x; ky < end.x; ky++) {
        // Rows and columns in the padding before the image wrap to large numbers, and are skipped like those after
        // its end.
        let in_row = row * STRIDE_Y + ky * DILATION_Y - PADDING_Y;
        for (var kx = first.y; kx < end.y; kx++) {
            let in_column = column * STRIDE_X + kx * DILATION_X - PADDING_X;
            if in_row < IN_HEIGHT && in_column < IN_WIDTH {
                let value = x[((image * IN_HEIGHT + in_row) * IN_WIDTH + in_column) * QUADS + quad];
                let better = (place == vec4u(NONE)) | (value > largest) | is_nan(value);
                largest = select(largest, value, better);
                place = select(place, vec4u(ky * KERNEL_WIDTH + kx), better);
            }
        }
    }
    if shape.relu != 0u {
        let negative = largest <= vec4f(0.0);
        place = select(place, vec4u(NONE), negative);
        largest = select(largest, vec4f(0.0), negative);
    }
    y[i] = largest;
    places[i] = packed(place);
}
