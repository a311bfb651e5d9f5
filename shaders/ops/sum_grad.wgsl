// The same gradient for every element, zero in the padding of each row.
struct Shape {
    quads: u32,
    row_quads: u32,
    columns: u32,
    scale: f32,
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
    if i >= shape.quads {
        return;
    }
    let column = vec4u(i % shape.row_quads * 4u) + vec4u(0u, 1u, 2u, 3u);
    var value = select(vec4f(0.0), vec4f(dy[0].x * shape.scale), column < vec4u(shape.columns));
    if shape.accumulate != 0u {
        value += dx[i];
    }
    dx[i] = value;
}
