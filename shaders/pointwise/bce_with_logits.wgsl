// The binary cross-entropy of sigmoid(x), with a weight for positive targets.
fn bce_with_logits_of(x: vec4f, t: vec4f, weight: vec4f) -> vec4f {
    return (vec4f(1.0) - t) * x + (vec4f(1.0) + (weight - vec4f(1.0)) * t) * softplus(-x);
}

fn bce_with_logits_grad0(dy: vec4f, x: vec4f, t: vec4f, weight: vec4f) -> vec4f {
    let lack = select(sigmoid(-x), x, is_nan(x));
    return dy * (vec4f(1.0) - t - (vec4f(1.0) + (weight - vec4f(1.0)) * t) * lack);
}

fn bce_with_logits_grad1(dy: vec4f, x: vec4f, t: vec4f, weight: vec4f) -> vec4f {
    return dy * ((weight - vec4f(1.0)) * softplus(-x) - x);
}
