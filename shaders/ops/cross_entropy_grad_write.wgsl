// The gradient of cross_entropy.wgsl for long rows, from the joined parts of each row; one quad per invocation.
struct Shape {
    rows: u32,
    classes: u32,
    row_quads: u32,
    at_label: f32,
    at_all: f32,
    all_targets: f32,
    ignores: u32,
    ignored: u32,
    accumulate: u32,
    columns: u32,
    pitch: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<vec4f>;
@group(0) @binding(4) var<storage, read> lines: array<vec4f>;
@group(0) @binding(5) var<storage, read> dlosses: array<f32>;
@group(0) @binding(6) var<storage, read_write> dlogits: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.rows * COUNT {
        return;
    }
    let row = i / COUNT;
    let label = labels[row];
    var value = vec4f(0.0);
    if !is_ignored(label) {
        let scale = target_sum_of(label) / lines[2u * row + 1u].x;
        value = slope_of(logits[i], i % COUNT, label, dlosses[place_of(row)], lines[2u * row].x, scale);
    }
    if shape.accumulate != 0u {
        value += dlogits[i];
    }
    dlogits[i] = value;
}
