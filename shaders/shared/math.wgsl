// Functions that drivers leave undefined, or make coarse, where numbers are extreme.

// By its bits, because compilers may take a number for equal to itself.
fn is_nan(value: vec4f) -> vec4<bool> {
    return (bitcast<vec4u>(value) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

// exp of numbers that are at most 0; 0 where it is below the normal numbers.
fn exp_of_negative(x: vec4f) -> vec4f {
    return select(exp(max(x, vec4f(-87.0))), vec4f(0.0), x < vec4f(-87.0));
}

fn sigmoid(x: vec4f) -> vec4f {
    let e = exp_of_negative(-abs(x));
    return select(e, vec4f(1.0), x >= vec4f(0.0)) / (vec4f(1.0) + e);
}

fn sigmoid_slope(x: vec4f) -> vec4f {
    let e = exp_of_negative(-abs(x));
    return e / ((vec4f(1.0) + e) * (vec4f(1.0) + e));
}

// exp(x) - 1 of numbers that are at most 0, relative to its own size: a Taylor polynomial near 0.
fn expm1_of_negative(x: vec4f) -> vec4f {
    var p = vec4f(1.0 / 5040.0);
    p = p * x + vec4f(1.0 / 720.0);
    p = p * x + vec4f(1.0 / 120.0);
    p = p * x + vec4f(1.0 / 24.0);
    p = p * x + vec4f(1.0 / 6.0);
    p = p * x + vec4f(0.5);
    p = p * x + vec4f(1.0);
    return select(exp_of_negative(x) - vec4f(1.0), p * x, x > vec4f(-0.5));
}

// ln(1 + x) of numbers in [0, 1], relative to its own size: 2 artanh(x / (2 + x)), of which a minimax polynomial in the
// square. No rounding of 1 + x is undone, as drivers cancel the two ones.
fn log1p_of_fraction(x: vec4f) -> vec4f {
    let s = x / (vec4f(2.0) + x);
    let square = s * s;
    var p = vec4f(2.441306493e-1);
    p = p * square + vec4f(2.139325153e-1);
    p = p * square + vec4f(2.862072202e-1);
    p = p * square + vec4f(3.999869091e-1);
    p = p * square + vec4f(6.666667931e-1);
    p = p * square + vec4f(2.0);
    return s * p;
}

// ln(1 + exp(x))
fn softplus(x: vec4f) -> vec4f {
    return max(x, vec4f()) + log1p_of_fraction(exp_of_negative(-abs(x)));
}
