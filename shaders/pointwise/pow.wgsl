// A power with any real exponent: NaN for negative numbers unless the exponent is an integer.
fn pow_of(x: vec4f, exponent: f32) -> vec4f {
    let nan = bitcast<vec4f>(bitcast<vec4u>(x) | vec4u(0x7fc00000u));
    let size = abs(x);
    let of_zero = select(vec4f(), vec4f(1.0) / size, exponent < 0.0);
    let power = select(exp(exponent * log(size)), of_zero, size == vec4f());
    let is_whole = floor(exponent) == exponent;
    let is_odd = floor(0.5 * exponent) != 0.5 * exponent;
    return select(power, select(nan, select(power, -power, is_odd), is_whole), x < vec4f());
}

fn pow_grad0(dy: vec4f, x: vec4f, exponent: f32) -> vec4f {
    return dy * exponent * pow_of(x, exponent - 1.0);
}
