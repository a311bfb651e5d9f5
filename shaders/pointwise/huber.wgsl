fn huber_of(a: vec4f, b: vec4f, delta: f32) -> vec4f {
    let size = abs(a - b);
    return select(delta * (size - vec4f(0.5 * delta)), 0.5 * size * size, size < vec4f(delta));
}

fn huber_grad0(dy: vec4f, a: vec4f, b: vec4f, delta: f32) -> vec4f {
    let error = a - b;
    return dy * select(min(max(error, vec4f(-delta)), vec4f(delta)), error, is_nan(error));
}

fn huber_grad1(dy: vec4f, a: vec4f, b: vec4f, delta: f32) -> vec4f {
    return -huber_grad0(dy, a, b, delta);
}
