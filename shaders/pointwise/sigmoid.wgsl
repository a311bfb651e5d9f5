fn sigmoid_of(x: vec4f) -> vec4f {
    return sigmoid(x);
}

fn sigmoid_grad0(dy: vec4f, x: vec4f) -> vec4f {
    return dy * (sigmoid_slope(x));
}
