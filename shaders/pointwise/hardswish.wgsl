// As in torch, the derivative is that of the flat side at -3 and that of the steep side at 3.
fn hardswish_of(x: vec4f) -> vec4f {
    return x * min(max(x + vec4f(3.0), vec4f()), vec4f(6.0)) / 6.0;
}

fn hardswish_grad0(dy: vec4f, x: vec4f) -> vec4f {
    let slope = select(vec4f(1.0), x / 3.0 + vec4f(0.5), x < vec4f(3.0));
    return select(dy * slope, vec4f(), x <= vec4f(-3.0));
}
