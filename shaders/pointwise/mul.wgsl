fn mul_of(a: vec4f, b: vec4f) -> vec4f {
    return a * b;
}

fn mul_grad0(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return dy * b;
}

fn mul_grad1(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return dy * a;
}
