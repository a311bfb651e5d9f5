// The softmax or log-softmax of long lines, from the joined parts of each line.
struct Shape {
    quads: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> lines: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

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
    let line = i / (COUNT * STRIDE) * STRIDE + i % STRIDE;
    let value = softmax_of(x[i], lines[2u * line], lines[2u * line + 1u]);
    y[i] = select(vec4f(0.0), value, is_column(i));
}
