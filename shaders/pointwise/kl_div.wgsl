// t (ln(t) - x) for a log-probability x; 0 if t is 0.
fn kl_div_of(x: vec4f, t: vec4f) -> vec4f {
    return select(t * (log(t) - x), vec4f(), t == vec4f());
}

fn kl_div_grad0(dy: vec4f, x: vec4f, t: vec4f) -> vec4f {
    return -dy * t;
}

fn kl_div_grad1(dy: vec4f, x: vec4f, t: vec4f) -> vec4f {
    return select(dy * (log(t) + vec4f(1.0) - x), vec4f(), t == vec4f());
}
