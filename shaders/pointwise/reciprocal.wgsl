fn reciprocal_of(x: vec4f) -> vec4f {
    return vec4f(1.0) / x;
}

fn reciprocal_grad0(dy: vec4f, y: vec4f) -> vec4f {
    return -dy * y * y;
}
