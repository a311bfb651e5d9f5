// Minus the input at the label of each row, times the weight of the label.
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
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    // The grid includes the padding of the losses, which must be zero.
    if i >= places() {
        return;
    }
    let row = row_at(i);
    if is_padding(i) || is_ignored(labels[row]) {
        losses[i] = 0.0;
        return;
    }
    let label = labels[row];
    losses[i] = -weight_of(label) * x[row * shape.row_quads + label / 4u][label % 4u];
}
