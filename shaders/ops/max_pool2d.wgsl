// The largest of each window, the first of equals in row-major order, and its place in the window; a NaN counts
// as larger than all before it, as in torch.
// Places are as in places16.wgsl or places32.wgsl, one of which is appended; NONE where the window's gradient goes
// nowhere. Sizes are constants, because dividing by a number that is not costs a CPU adapter more than all the rest.
// TILED where windows take one dispatch after the other, each of which goes on from what the last one left.
struct Shape {
    images: u32,
    relu: u32,
    resume: u32,
    // With TILED: rows and columns of each window that this dispatch takes, from the first in the image on.
    first_row: u32,
    end_row: u32,
    first_column: u32,
    end_column: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> places: array<Places>;

// By its bits, because compilers may take a number for equal to itself.
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
        // Rows and columns of the padding wrap to huge numbers, and are passed over like those beyond the end.
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
