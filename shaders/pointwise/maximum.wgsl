// NaN if either input is NaN; both then get the gradient. Equal inputs get half of it each.
fn maximum_of(a: vec4f, b: vec4f) -> vec4f {
    return select(select(b, a, a > b), a, is_nan(a));
}

fn maximum_grad0(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return select(select(dy, 0.5 * dy, a == b), vec4f(), a < b);
}

fn maximum_grad1(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return maximum_grad0(dy, b, a);
}
