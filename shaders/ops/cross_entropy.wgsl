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

// Logits of a quad, far below all others where there is no class.
fn logits_of(row: u32, quad: u32) -> vec4f {
    let class_number = vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u);
    return select(vec4f(-3.0e38), logits[row * shape.row_quads + quad], class_number < vec4u(shape.classes));
}

fn largest_of(row: u32) -> f32 {
    var largest = vec4f(-3.0e38);
    for (var quad = 0u; quad < shape.row_quads; quad++) {
        largest = max(largest, logits_of(row, quad));
    }
    return max(max(largest.x, largest.y), max(largest.z, largest.w));
}

fn sum_of_exponentials(row: u32, largest: f32) -> f32 {
    var sum = vec4f(0.0);
    for (var quad = 0u; quad < shape.row_quads; quad++) {
        sum += exp(logits_of(row, quad) - vec4f(largest));
    }
    return sum.x + sum.y + sum.z + sum.w;
}

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
