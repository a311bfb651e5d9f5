fn function_of(x: vec4f) -> vec4f {
    return sigmoid(x);
}

fn slope_of(x: vec4f) -> vec4f {
    return sigmoid_slope(x);
}
