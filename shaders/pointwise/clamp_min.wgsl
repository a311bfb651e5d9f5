fn clamp_min_of(x: vec4f, least: f32) -> vec4f {
    return max(x, vec4f(least));
}

fn clamp_min_grad0(dy: vec4f, x: vec4f, least: f32) -> vec4f {
    return select(vec4f(), dy, x > vec4f(least));
}
