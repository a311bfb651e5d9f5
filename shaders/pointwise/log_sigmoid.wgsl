fn log_sigmoid_of(x: vec4f) -> vec4f {
    return -softplus(-x);
}

fn log_sigmoid_grad0(dy: vec4f, x: vec4f) -> vec4f {
    return dy * sigmoid(-x);
}
