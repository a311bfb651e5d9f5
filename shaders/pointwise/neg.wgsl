fn neg_of(x: vec4f) -> vec4f {
    return -x;
}

fn neg_grad0(dy: vec4f) -> vec4f {
    return -dy;
}
