// (a - b)^2
fn squared_error_of(a: vec4f, b: vec4f) -> vec4f {
    return (a - b) * (a - b);
}

fn squared_error_grad0(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return 2.0 * (a - b) * dy;
}

fn squared_error_grad1(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return -2.0 * (a - b) * dy;
}
