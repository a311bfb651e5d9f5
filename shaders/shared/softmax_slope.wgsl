// The gradient of softmax, y (dy - sum(y dy)), or of log-softmax, dy - exp(y) sum(dy), from the output.
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
