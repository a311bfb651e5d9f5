// The gradient of softmax or log-softmax along long lines, from the joined sum of each line.
struct Shape {
    quads: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> y: array<vec4f>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read> sums: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> dx: array<vec4f>;

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
    var value = select(vec4f(0.0), slope_of(y[i], dy[i], sums[line]), is_column(i));
    if shape.accumulate != 0u {
        value += dx[i];
    }
    dx[i] = value;
}
