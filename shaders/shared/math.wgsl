// Functions that drivers leave undefined, or compute inaccurately, for extreme numbers.

// Tests bits, because compilers may assume that a number equals itself.
fn is_nan(value: vec4f) -> vec4<bool> {
    return (bitcast<vec4u>(value) & vec4u(0x7fffffffu)) > vec4u(0x7f800000u);
}

// exp(x) for x of at most 0; 0 where the result is below the normal numbers.
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

// exp(x) - 1 for x of at most 0, with small relative error: a Taylor polynomial near 0.
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

// ln(1 + x) for x in [0, 1], with small relative error: 2 artanh(x / (2 + x)), as a minimax polynomial in the square.
// Not computed from the rounding error of 1 + x, because drivers simplify (1 + x) - 1.
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
