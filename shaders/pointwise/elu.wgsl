fn elu_of(x: vec4f, alpha: f32) -> vec4f {
    return select(alpha * expm1_of_negative(min(x, vec4f())), x, x > vec4f());
}

fn elu_grad0(dy: vec4f, x: vec4f, alpha: f32) -> vec4f {
    return select(dy * alpha * exp_of_negative(min(x, vec4f())), dy, x > vec4f());
}
