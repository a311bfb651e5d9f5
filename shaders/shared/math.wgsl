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
