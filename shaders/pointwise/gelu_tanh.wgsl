// x / 2 * (1 + tanh(u)) with u = sqrt(2 / pi) * (x + 0.044715 x^3), which is x * sigmoid(2u).
fn twice_u(x: vec4f) -> vec4f {
    return 1.59576912 * (x + 0.044715 * (x * x * x));
}

fn gelu_tanh_of(x: vec4f) -> vec4f {
    return x * sigmoid(twice_u(x));
}

fn gelu_tanh_grad0(dy: vec4f, x: vec4f) -> vec4f {
    let v = twice_u(x);
    // The derivative of the sigmoid becomes 0 before this factor overflows.
    let inner = min(abs(x), vec4f(16.0));
    return dy * (sigmoid(v) + x * sigmoid_slope(v) * (1.59576912 * (vec4f(1.0) + 0.134145 * inner * inner)));
}
