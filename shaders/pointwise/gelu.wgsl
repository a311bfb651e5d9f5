// x times the cumulative distribution function of the standard normal distribution.

// 1 - erf(x), accurate to 2e-7, and to a relative 2e-7 where it is small. The two polynomials are minimax fits of
// erf(x) / x in x^2 and of exp(x^2) erfc(x) / t in t.
fn erfc(x: vec4f) -> vec4f {
    let size = abs(x);
    let square = size * size;
    var p = vec4f(7.853856649e-5);
    p = p * square + vec4f(-8.010192563e-4);
    p = p * square + vec4f(5.188327612e-3);
    p = p * square + vec4f(-2.685381193e-2);
    p = p * square + vec4f(1.128358515e-1);
    p = p * square + vec4f(-3.761262582e-1);
    p = p * square + vec4f(1.128379166);
    let t = vec4f(1.0) / (vec4f(1.0) + 0.5 * size);
    var q = vec4f(9.172264938e-2);
    q = q * t + vec4f(-2.236894343e-1);
    q = q * t + vec4f(8.247906495e-2);
    q = q * t + vec4f(5.898370772e-2);
    q = q * t + vec4f(1.802634652e-1);
    q = q * t + vec4f(2.464977070e-1);
    q = q * t + vec4f(2.821079267e-1);
    q = q * t + vec4f(2.820946202e-1);
    let far = exp_of_negative(-square) * t * q;
    return select(select(far, vec4f(2.0) - far, x < vec4f(0.0)), vec4f(1.0) - x * p, size < vec4f(1.0));
}

fn gelu_of(x: vec4f) -> vec4f {
    return x * (0.5 * erfc(-0.70710678 * x));
}

fn gelu_grad0(dy: vec4f, x: vec4f) -> vec4f {
    return dy * (0.5 * erfc(-0.70710678 * x) + x * (0.39894228 * exp_of_negative(-0.5 * x * x)));
}
