fn div_of(a: vec4f, b: vec4f) -> vec4f {
    return a / b;
}

fn div_grad0(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return dy / b;
}

// Divides twice, because the square of b would overflow first.
fn div_grad1(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return -dy * (a / b) / b;
}
