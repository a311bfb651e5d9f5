// Gathers, for each input, the gradients of the windows whose largest it was.
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
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read> places: array<vec2u>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.images * shape.in_height * shape.in_width * shape.quads {
        return;
    }
    let quad = i % shape.quads;
    let column = i / shape.quads % shape.in_width + shape.padding_x;
    let row = i / (shape.quads * shape.in_width) % shape.in_height + shape.padding_y;
    let image = i / (shape.quads * shape.in_width * shape.in_height);
    // The windows that hold this element: those that begin at it or before it and are not over yet.
    let first_row = select(0u, (row - shape.kernel_height) / shape.stride_y + 1u, row >= shape.kernel_height);
    let first_column = select(0u, (column - shape.kernel_width) / shape.stride_x + 1u, column >= shape.kernel_width);
    let end_row = min(row / shape.stride_y + 1u, shape.height);
    let end_column = min(column / shape.stride_x + 1u, shape.width);
    var sum = vec4f(0.0);
    for (var oy = first_row; oy < end_row; oy++) {
        for (var ox = first_column; ox < end_column; ox++) {
            let at = ((image * shape.height + oy) * shape.width + ox) * shape.quads + quad;
            let here = (row - oy * shape.stride_y) * shape.kernel_width + column - ox * shape.stride_x;
            let packed = places[at];
            let place = vec4u(packed & vec2u(0xffffu), packed >> vec2u(16u));
            sum += select(vec4f(0.0), dy[at], place == vec4u(here));
        }
    }
    if shape.accumulate != 0u {
        sum += dx[i];
    }
    dx[i] = sum;
}
