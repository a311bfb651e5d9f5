// Minus infinity for 0, and NaN for negative numbers; drivers leave both undefined.
fn log_of(x: vec4f) -> vec4f {
    let nan = bitcast<vec4f>(bitcast<vec4u>(x) | vec4u(0x7fc00000u));
    return select(select(log(x), vec4f(-1.0) / abs(x), x == vec4f()), nan, x < vec4f());
}

fn log_grad0(dy: vec4f, x: vec4f) -> vec4f {
    return dy / x;
}
