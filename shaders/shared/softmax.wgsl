// The softmax of a row of `logits`, for kernels whose `shape` has `classes` and `row_quads`.

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
