fn hardsigmoid_of(x: vec4f) -> vec4f {
    return min(max(x + vec4f(3.0), vec4f()), vec4f(6.0)) / 6.0;
}

fn hardsigmoid_grad0(dy: vec4f, x: vec4f) -> vec4f {
    return select(vec4f(), dy / 6.0, (x > vec4f(-3.0)) & (x < vec4f(3.0)));
}
