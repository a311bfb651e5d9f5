// NaN if either input is NaN; both then get the gradient. Equal inputs get half of it each.
fn minimum_of(a: vec4f, b: vec4f) -> vec4f {
    return select(select(b, a, a < b), a, is_nan(a));
}

fn minimum_grad0(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return select(select(dy, 0.5 * dy, a == b), vec4f(), a > b);
}

fn minimum_grad1(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return minimum_grad0(dy, b, a);
}
