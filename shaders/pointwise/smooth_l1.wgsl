fn smooth_l1_of(a: vec4f, b: vec4f, beta: f32) -> vec4f {
    let size = abs(a - b);
    return select(size - vec4f(0.5 * beta), 0.5 * size * size / beta, size < vec4f(beta));
}

fn smooth_l1_grad0(dy: vec4f, a: vec4f, b: vec4f, beta: f32) -> vec4f {
    let error = a - b;
    let slope = select(sign(error), error / beta, abs(error) < vec4f(beta));
    return dy * select(slope, error, is_nan(error));
}

fn smooth_l1_grad1(dy: vec4f, a: vec4f, b: vec4f, beta: f32) -> vec4f {
    return -smooth_l1_grad0(dy, a, b, beta);
}
