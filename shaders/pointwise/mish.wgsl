// x * tanh(softplus(x)), where tanh(softplus(x)) is 1 - 2 / ((1 + e^x)^2 + 1).
fn tanh_of_softplus(x: vec4f) -> vec4f {
    // In terms of e = exp(-|x|), no term overflows.
    let e = exp_of_negative(-abs(x));
    let right = (vec4f(1.0) + 2.0 * e) / (vec4f(1.0) + 2.0 * e + 2.0 * e * e);
    let left = (e * e + 2.0 * e) / (e * e + 2.0 * e + vec4f(2.0));
    return select(left, right, x >= vec4f());
}

fn mish_of(x: vec4f) -> vec4f {
    return x * tanh_of_softplus(x);
}

fn mish_grad0(dy: vec4f, x: vec4f) -> vec4f {
    let t = tanh_of_softplus(x);
    return dy * (t + x * sigmoid(x) * (vec4f(1.0) - t * t));
}
