// The largest of each window, the first of equals in row-major order, and its place in the window.
// Places are 16 bits, two to a word; NONE where the window's gradient goes nowhere.
struct Shape {
    images: u32,
    in_height: u32,
    in_width: u32,
    height: u32,
    width: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    padding_y: u32,
    padding_x: u32,
    quads: u32,
    relu: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> places: array<vec2u>;

const NONE: u32 = 0xffffu;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.images * shape.height * shape.width * shape.quads {
        return;
    }
    let quad = i % shape.quads;
    let column = i / shape.quads % shape.width;
    let row = i / (shape.quads * shape.width) % shape.height;
    let image = i / (shape.quads * shape.width * shape.height);
    var largest = vec4f(0.0);
    var place = vec4u(NONE);
    for (var ky = 0u; ky < shape.kernel_height; ky++) {
        // Rows and columns of the padding wrap to huge numbers, and are passed over like those beyond the end.
        let in_row = row * shape.stride_y + ky - shape.padding_y;
        for (var kx = 0u; kx < shape.kernel_width; kx++) {
            let in_column = column * shape.stride_x + kx - shape.padding_x;
            if in_row < shape.in_height && in_column < shape.in_width {
                let value = x[((image * shape.in_height + in_row) * shape.in_width + in_column) * shape.quads + quad];
                let better = (place == vec4u(NONE)) | (value > largest);
                largest = select(largest, value, better);
                place = select(place, vec4u(ky * shape.kernel_width + kx), better);
            }
        }
    }
    if shape.relu != 0u {
        place = select(vec4u(NONE), place, largest > vec4f(0.0));
        largest = max(largest, vec4f(0.0));
    }
    y[i] = largest;
    places[i] = place.xy | (place.zw << vec2u(16u));
}
