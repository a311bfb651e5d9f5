// The gradient of a softmax, or of its logarithm, from the output: y (dy - sum(y dy)), or dy - exp(y) sum(dy).
fn term_of(y: vec4f, dy: vec4f) -> vec4f {
    if LOG != 0u {
        return dy;
    }
    return y * dy;
}

fn slope_of(y: vec4f, dy: vec4f, sum: vec4f) -> vec4f {
    if LOG != 0u {
        return dy - select(exp_of_negative(y), y, is_nan(y)) * sum;
    }
    return y * (dy - sum);
}
