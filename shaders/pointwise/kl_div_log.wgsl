// exp(t) (t - x) for two log-probabilities.
fn kl_div_log_of(x: vec4f, t: vec4f) -> vec4f {
    return exp(t) * (t - x);
}

fn kl_div_log_grad0(dy: vec4f, x: vec4f, t: vec4f) -> vec4f {
    return -dy * exp(t);
}

fn kl_div_log_grad1(dy: vec4f, x: vec4f, t: vec4f) -> vec4f {
    return dy * exp(t) * (t - x + vec4f(1.0));
}
