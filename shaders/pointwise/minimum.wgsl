// NaN where one of them is; of equals each gets half of the gradient.
fn minimum_of(a: vec4f, b: vec4f) -> vec4f {
    return select(select(b, a, a < b), a, is_nan(a));
}

fn minimum_grad0(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return select(select(vec4f(), dy, a < b), 0.5 * dy, a == b);
}

fn minimum_grad1(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return minimum_grad0(dy, b, a);
}
