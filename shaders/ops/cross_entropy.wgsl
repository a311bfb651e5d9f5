// Minus the log-softmax times the targets, for each row, relative to the row's maximum. The target of a class is its
// weight times `at_all`, plus its weight times `at_label` for the label. As in torch, the loss is NaN for a row whose
// maximum is not finite.
//
// With SLOPES, also computes the gradient of each row, if the upstream gradient of every loss is `scale` times one
// number.
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
#for keeps in 0..KEEPS
// Like the joined parts of long rows: the maximum of each row, and the sum of exponentials.
@group(0) @binding(5) var<storage, read_write> lines: array<vec4f>;
#end

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let team = team_of(workgroup, workgroups, lane);
    let i = team.line;
    // The grid includes the padding of the losses, which must be zero.
    var has_loss = i < places() && !is_padding(i);
    let row = min(row_at(i), shape.rows - 1u);
    var label = labels[row];
    has_loss = has_loss && !is_ignored(label);
    #for alone in 0..ALONE
    if !has_loss {
        if i < places() {
            losses[i] = 0.0;
        }
        #for q in 0..SLOPES
        if i < places() && !is_padding(i) {
            for (var quad = 0u; quad < shape.row_quads; quad++) {
                dlogits[row * shape.row_quads + quad] = vec4f(0.0);
            }
        }
        #end
        return;
    }
    #end
    // An ignored label can be out of range.
    label = min(label, shape.classes - 1u);
    let largest = largest_of(team, row);
    let sum = sum_of_exponentials(team, row, largest);
    let log_sum = log(sum);
    let at_label = logits[row * shape.row_quads + label / 4u][label % 4u];
    // The difference comes first: next to a large logit, the logarithm would be lost to rounding.
    var loss = shape.at_label * (weight_of(label) * (log_sum + (largest - at_label)));
    // Without smoothing, the other logits can be infinite.
    if shape.at_all != 0.0 {
        loss += shape.at_all * weighted_sum(team, row, largest, log_sum);
    }
    #for q in 0..SLOPES
    if i < places() && !is_padding(i) {
        let softmax_scale = target_sum_of(label) / sum;
        for (var quad = team.member; quad < shape.row_quads; quad += TEAM) {
            let at = row * shape.row_quads + quad;
            let slope = slope_of(logits[at], quad, label, dlosses[0] * shape.scale, largest, softmax_scale);
            dlogits[at] = select(vec4f(0.0), slope, has_loss);
        }
    }
    #end
    if team.member != 0u || i >= places() {
        return;
    }
    losses[i] = select(0.0, unless_infinite(vec4f(largest), vec4f(loss)).x, has_loss);
    #for keeps in 0..KEEPS
    if !is_padding(i) {
        lines[2u * row] = vec4f(largest);
        lines[2u * row + 1u] = vec4f(sum);
    }
    #end
}
