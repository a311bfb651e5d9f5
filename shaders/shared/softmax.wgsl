// The softmax of a row of `logits`, for kernels whose `shape` has `classes` and `row_quads`.

fn is_class(quad: u32) -> vec4<bool> {
    return vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(shape.classes);
}

fn largest_of(row: u32) -> f32 {
    // The first class is no padding.
    var largest = vec4f(logits[row * shape.row_quads].x);
    for (var quad = 0u; quad < shape.row_quads; quad++) {
        largest = select(largest, larger(largest, logits[row * shape.row_quads + quad]), is_class(quad));
    }
    return largest_lane(largest).x;
}

// Runs are added up apart, because a long chain of additions loses digits.
fn sum_of_exponentials(row: u32, largest: f32) -> f32 {
    var sum = vec4f(0.0);
    for (var start = 0u; start < shape.row_quads; start += RUN) {
        var run = vec4f(0.0);
        for (var quad = start; quad < min(start + RUN, shape.row_quads); quad++) {
            let value = exp_of_negative(logits[row * shape.row_quads + quad] - vec4f(largest));
            run += select(vec4f(0.0), value, is_class(quad));
        }
        sum += run;
    }
    return sum.x + sum.y + sum.z + sum.w;
}

// Minus the logarithms of the softmax, times the weights of the classes.
fn weighted_sum(row: u32, largest: f32, log_sum: f32) -> f32 {
    var sum = vec4f(0.0);
    for (var start = 0u; start < shape.row_quads; start += RUN) {
        var run = vec4f(0.0);
        for (var quad = start; quad < min(start + RUN, shape.row_quads); quad++) {
            run += weights[quad] * (log_sum + (largest - logits[row * shape.row_quads + quad]));
        }
        sum += run;
    }
    return sum.x + sum.y + sum.z + sum.w;
}
