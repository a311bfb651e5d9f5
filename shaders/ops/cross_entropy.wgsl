// Minus the logarithm of the softmax at the label, for each row; the largest logit is taken out first.
struct Shape {
    rows: u32,
    classes: u32,
    row_quads: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;
@group(0) @binding(2) var<storage, read> labels: array<u32>;
@group(0) @binding(3) var<storage, read_write> losses: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    // The padding of the row of losses is part of the grid, and zero.
    if i >= (shape.rows + 3u) / 4u * 4u {
        return;
    }
    if i >= shape.rows {
        losses[i] = 0.0;
        return;
    }
    let largest = largest_of(i);
    let at_label = logits_of(i, labels[i] / 4u)[labels[i] % 4u];
    // The difference first: next to a large logit the logarithm would be lost.
    losses[i] = log(sum_of_exponentials(i, largest)) + (largest - at_label);
}
