fn rsqrt_of(x: vec4f) -> vec4f {
    return inverseSqrt(x);
}

fn rsqrt_grad0(dy: vec4f, y: vec4f) -> vec4f {
    return -0.5 * dy * y * y * y;
}
