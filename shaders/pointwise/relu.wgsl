// max(x, 0), but NaN if x is NaN.
fn relu_of(x: vec4f) -> vec4f {
    return select(x, vec4f(), x < vec4f());
}

fn relu_grad0(dy: vec4f, y: vec4f) -> vec4f {
    return select(dy, vec4f(), y <= vec4f());
}
