fn square_of(x: vec4f) -> vec4f {
    return x * x;
}

fn square_grad0(dy: vec4f, x: vec4f) -> vec4f {
    return 2.0 * dy * x;
}
