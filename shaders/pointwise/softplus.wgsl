fn softplus_of(x: vec4f, beta: f32, threshold: f32) -> vec4f {
    return select(softplus(x * beta) / beta, x, x * beta > vec4f(threshold));
}

fn softplus_grad0(dy: vec4f, x: vec4f, beta: f32, threshold: f32) -> vec4f {
    return select(dy * sigmoid(x * beta), dy, x * beta > vec4f(threshold));
}
