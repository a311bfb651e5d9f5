fn sub_of(a: vec4f, b: vec4f) -> vec4f {
    return a - b;
}

fn sub_grad1(dy: vec4f) -> vec4f {
    return -dy;
}
