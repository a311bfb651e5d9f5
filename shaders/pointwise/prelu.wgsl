fn prelu_of(x: vec4f, weight: vec4f) -> vec4f {
    return select(weight * x, x, x > vec4f());
}

fn prelu_grad0(dy: vec4f, x: vec4f, weight: vec4f) -> vec4f {
    return select(weight * dy, dy, x > vec4f());
}

fn prelu_grad1(dy: vec4f, x: vec4f, weight: vec4f) -> vec4f {
    return select(x * dy, vec4f(), x > vec4f());
}
