fn leaky_relu_of(x: vec4f, negative_slope: f32) -> vec4f {
    return select(x * negative_slope, x, x > vec4f());
}

fn leaky_relu_grad0(dy: vec4f, x: vec4f, negative_slope: f32) -> vec4f {
    return select(dy * negative_slope, dy, x > vec4f());
}
