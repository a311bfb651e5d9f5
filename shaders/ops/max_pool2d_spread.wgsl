// The gradient of max_pool2d if windows cover each input exactly once: distributes each window's gradient over its
// elements.
struct Shape {
    images: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read> places: array<Places>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4f>;

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
    let column = i / QUADS % WIDTH;
    // Row in all images together, which are contiguous in input and output.
    let row = i / (QUADS * WIDTH);
    let first = (row * KERNEL_HEIGHT * IN_WIDTH + column * KERNEL_WIDTH) * QUADS + i % QUADS;
    let place = place_at(i);
    let gradient = dy[i];
    for (var ky = 0u; ky < KERNEL_HEIGHT; ky++) {
        for (var kx = 0u; kx < KERNEL_WIDTH; kx++) {
            let at = first + (ky * IN_WIDTH + kx) * QUADS;
            var value = select(vec4f(0.0), gradient, place == vec4u(ky * KERNEL_WIDTH + kx));
            if shape.accumulate != 0u {
                value += dx[at];
            }
            dx[at] = value;
        }
    }
}
