fn clamp_max_of(x: vec4f, most: f32) -> vec4f {
    return min(x, vec4f(most));
}

fn clamp_max_grad0(dy: vec4f, x: vec4f, most: f32) -> vec4f {
    return select(vec4f(), dy, x < vec4f(most));
}
