// Clamps to the bounds. The gradient at the bounds is 0.
fn clamp_of(x: vec4f, least: f32, most: f32) -> vec4f {
    return min(max(x, vec4f(least)), vec4f(most));
}

fn clamp_grad0(dy: vec4f, x: vec4f, least: f32, most: f32) -> vec4f {
    return select(vec4f(), dy, (x > vec4f(least)) & (x < vec4f(most)));
}
