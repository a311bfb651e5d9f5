fn silu_of(x: vec4f) -> vec4f {
    return x * sigmoid(x);
}

fn silu_grad0(dy: vec4f, x: vec4f) -> vec4f {
    return dy * (sigmoid(x) + x * sigmoid_slope(x));
}
