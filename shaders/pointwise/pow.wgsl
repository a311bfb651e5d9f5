// A power of any real exponent: NaN of numbers below 0.
fn pow_of(x: vec4f, exponent: f32) -> vec4f {
    let nan = bitcast<vec4f>(bitcast<vec4u>(x) | vec4u(0x7fc00000u));
    let size = abs(x);
    let of_zero = select(vec4f(), vec4f(1.0) / size, exponent < 0.0);
    return select(select(exp(exponent * log(size)), of_zero, size == vec4f()), nan, x < vec4f());
}

fn pow_grad0(dy: vec4f, x: vec4f, exponent: f32) -> vec4f {
    return dy * exponent * pow_of(x, exponent - 1.0);
}
