// The gradient of cross_entropy.wgsl; one row per invocation.
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
@group(0) @binding(4) var<storage, read> dlosses: array<f32>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<vec4f>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let team = team_of(workgroup, workgroups, lane);
    let i = team.line;
    if i >= shape.rows {
        return;
    }
    let label = labels[i];
    let ignored = is_ignored(label);
    let largest = largest_of(team, i);
    let scale = target_sum_of(label) / sum_of_exponentials(team, i, largest);
    for (var quad = 0u; quad < shape.row_quads; quad++) {
        let at = i * shape.row_quads + quad;
        var value = slope_of(logits[at], quad, label, dlosses[place_of(i)], largest, scale);
        value = select(value, vec4f(0.0), ignored);
        if shape.accumulate != 0u {
            value += dlogits[at];
        }
        dlogits[at] = value;
    }
}
