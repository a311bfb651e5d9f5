// Minus a log-softmax value times its target, a fraction of which is distributed over all classes.
fn soft_cross_entropy_of(x: vec4f, t: vec4f, smoothing: f32, classes: f32) -> vec4f {
    return -x * ((1.0 - smoothing) * t + vec4f(smoothing / classes));
}

fn soft_cross_entropy_grad0(dy: vec4f, x: vec4f, t: vec4f, smoothing: f32, classes: f32) -> vec4f {
    return -dy * ((1.0 - smoothing) * t + vec4f(smoothing / classes));
}

fn soft_cross_entropy_grad1(dy: vec4f, x: vec4f, t: vec4f, smoothing: f32, classes: f32) -> vec4f {
    return -dy * (1.0 - smoothing) * x;
}
