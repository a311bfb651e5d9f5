// -(t ln(x) + (1 - t) ln(1 - x)), with logarithms clamped to at least -100.
fn bounded_log(x: vec4f) -> vec4f {
    let bounded = select(max(log(x), vec4f(-100.0)), vec4f(-100.0), x <= vec4f());
    return select(bounded, x, is_nan(x));
}

fn bce_of(x: vec4f, t: vec4f) -> vec4f {
    return -(t * bounded_log(x) + (vec4f(1.0) - t) * bounded_log(vec4f(1.0) - x));
}

fn bce_grad0(dy: vec4f, x: vec4f, t: vec4f) -> vec4f {
    return dy * (x - t) / max(x * (vec4f(1.0) - x), vec4f(1e-12));
}

fn bce_grad1(dy: vec4f, x: vec4f, t: vec4f) -> vec4f {
    return dy * (bounded_log(vec4f(1.0) - x) - bounded_log(x));
}
