// NaN where one of them is; of equals each gets half of the gradient.
fn maximum_of(a: vec4f, b: vec4f) -> vec4f {
    return select(select(b, a, a > b), a, is_nan(a));
}

fn maximum_grad0(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return select(select(vec4f(), dy, a > b), 0.5 * dy, a == b);
}

fn maximum_grad1(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return maximum_grad0(dy, b, a);
}
