// The gradient at 0 is 0.
fn abs_of(x: vec4f) -> vec4f {
    return abs(x);
}

fn abs_grad0(dy: vec4f, x: vec4f) -> vec4f {
    return dy * sign(x);
}
