fn sqrt_of(x: vec4f) -> vec4f {
    return sqrt(x);
}

fn sqrt_grad0(dy: vec4f, y: vec4f) -> vec4f {
    return 0.5 * dy / y;
}
