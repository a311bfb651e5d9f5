// The gradient of nll.wgsl; one quad per invocation.
struct Shape {
    rows: u32,
    row_quads: u32,
    ignores: u32,
    ignored: u32,
    accumulate: u32,
    columns: u32,
    pitch: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@group(0) @binding(3) var<storage, read> dlosses: array<f32>;
@group(0) @binding(4) var<storage, read_write> dx: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.rows * shape.row_quads {
        return;
    }
    let row = i / shape.row_quads;
    let label = labels[row];
    var value = vec4f(0.0);
    if !is_ignored(label) && label / 4u == i % shape.row_quads {
        value[label % 4u] = -weight_of(label) * dlosses[place_of(row)];
    }
    if shape.accumulate != 0u {
        value += dx[i];
    }
    dx[i] = value;
}
