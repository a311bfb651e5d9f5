// The weight of each row's label; 0 if the label is ignored.
struct Shape {
    rows: u32,
    ignores: u32,
    ignored: u32,
    columns: u32,
    pitch: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> labels: array<u32>;
@group(0) @binding(2) var<storage, read> weights: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> label_weights: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    // The grid includes the padding of the weights, which must be zero.
    if i >= places() {
        return;
    }
    let row = row_at(i);
    if is_padding(i) || is_ignored(labels[row]) {
        label_weights[i] = 0.0;
        return;
    }
    label_weights[i] = weight_of(labels[row]);
}
