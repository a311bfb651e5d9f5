// Softmax times the sum of the targets, minus the targets, times the gradient of the row's loss.
struct Shape {
    rows: u32,
    classes: u32,
    row_quads: u32,
    at_label: f32,
    at_all: f32,
    weight_sum: f32,
    ignores: u32,
    ignored: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<vec4f>;
@group(0) @binding(4) var<storage, read> dlosses: array<f32>;
@group(0) @binding(5) var<storage, read_write> dlogits: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.rows {
        return;
    }
    let label = labels[i];
    let ignored = is_ignored(label);
    let largest = largest_of(i);
    let target_sum = shape.at_label * weight_of(label) + shape.at_all * shape.weight_sum;
    let scale = target_sum / sum_of_exponentials(i, largest);
    for (var quad = 0u; quad < shape.row_quads; quad++) {
        let class_number = vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u);
        let one_hot = select(vec4f(0.0), vec4f(shape.at_label), class_number == vec4u(label));
        let wanted = weights[quad] * (one_hot + vec4f(shape.at_all));
        var value = dlosses[i] * (exp(logits_of(i, quad) - vec4f(largest)) * scale - wanted);
        value = select(value, vec4f(0.0), ignored);
        let at = i * shape.row_quads + quad;
        if shape.accumulate != 0u {
            value += dlogits[at];
        }
        dlogits[at] = value;
    }
}
