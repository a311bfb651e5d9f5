// Minus the logarithm of the softmax, times the targets, for each row; the largest logit is taken out first. The
// target of a class is its weight times `at_all`, and at the label times `at_label` in addition.
// As in torch, a row whose largest logit is not finite has the loss NaN.
//
// With SLOPES, the gradient of each row too, where that of every loss is `scale` times one number.
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
    #for q in 0..SLOPES
    scale: f32,
    #end
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read> weights: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> losses: array<f32>;
#for q in 0..SLOPES
@group(0) @binding(5) var<storage, read> dlosses: array<f32>;
@group(0) @binding(6) var<storage, read_write> dlogits: array<vec4f>;
#end

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    // The padding of the losses is part of the grid, and zero.
    if i >= places() {
        return;
    }
    let row = row_at(i);
    if is_padding(i) {
        losses[i] = 0.0;
        return;
    }
    if is_ignored(labels[row]) {
        losses[i] = 0.0;
        #for q in 0..SLOPES
        for (var quad = 0u; quad < shape.row_quads; quad++) {
            dlogits[row * shape.row_quads + quad] = vec4f(0.0);
        }
        #end
        return;
    }
    let label = labels[row];
    let largest = largest_of(row);
    let sum = sum_of_exponentials(row, largest);
    let log_sum = log(sum);
    let at_label = logits[row * shape.row_quads + label / 4u][label % 4u];
    // The difference first: next to a large logit the logarithm would be lost.
    var loss = shape.at_label * (weight_of(label) * (log_sum + (largest - at_label)));
    // Without smoothing, the other logits may be infinite.
    if shape.at_all != 0.0 {
        loss += shape.at_all * weighted_sum(row, largest, log_sum);
    }
    losses[i] = unless_infinite(vec4f(largest), vec4f(loss)).x;
    #for q in 0..SLOPES
    let softmax_scale = target_sum_of(label) / sum;
    for (var quad = 0u; quad < shape.row_quads; quad++) {
        let at = row * shape.row_quads + quad;
        dlogits[at] = slope_of(logits[at], quad, label, dlosses[0] * shape.scale, largest, softmax_scale);
    }
    #end
}
