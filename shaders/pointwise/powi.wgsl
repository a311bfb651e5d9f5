// A power with an integer exponent of magnitude at most 127, by repeated squaring.
fn whole_power(x: vec4f, exponent: f32) -> vec4f {
    var bits = u32(abs(exponent));
    var square = x;
    var power = select(vec4f(1.0), square, (bits & 1u) != 0u);
    square *= square;
    power *= select(vec4f(1.0), square, (bits & 2u) != 0u);
    square *= square;
    power *= select(vec4f(1.0), square, (bits & 4u) != 0u);
    square *= square;
    power *= select(vec4f(1.0), square, (bits & 8u) != 0u);
    square *= square;
    power *= select(vec4f(1.0), square, (bits & 16u) != 0u);
    square *= square;
    power *= select(vec4f(1.0), square, (bits & 32u) != 0u);
    square *= square;
    power *= select(vec4f(1.0), square, (bits & 64u) != 0u);
    return select(power, vec4f(1.0) / power, exponent < 0.0);
}

fn powi_of(x: vec4f, exponent: f32) -> vec4f {
    return whole_power(x, exponent);
}

fn powi_grad0(dy: vec4f, x: vec4f, exponent: f32) -> vec4f {
    // The constant 1 has derivative 0 everywhere, also at 0.
    return select(dy * exponent * whole_power(x, exponent - 1.0), vec4f(), exponent == 0.0);
}
