// Like bce_with_logits.wgsl, without weights.
fn bce_of_logits_of(x: vec4f, t: vec4f) -> vec4f {
    return (vec4f(1.0) - t) * x + softplus(-x);
}

fn bce_of_logits_grad0(dy: vec4f, x: vec4f, t: vec4f) -> vec4f {
    return dy * (select(sigmoid(x), x, is_nan(x)) - t);
}

fn bce_of_logits_grad1(dy: vec4f, x: vec4f, t: vec4f) -> vec4f {
    return -dy * x;
}
