// The maximum of numbers, NaN if any is NaN. Joined with math.wgsl.

// Keeps NaN, unlike `max`.
fn larger(a: vec4f, b: vec4f) -> vec4f {
    return select(a, b, (b > a) | is_nan(b));
}

// The maximum of the four lanes, in all lanes.
fn largest_lane(value: vec4f) -> vec4f {
    let pairs = larger(value, value.yxwz);
    return larger(pairs, pairs.zwxy);
}

// `value`, or NaN if the maximum of its line is not finite, as in torch. Tests bits, like `is_nan`.
fn unless_infinite(largest: vec4f, value: vec4f) -> vec4f {
    let bits = bitcast<vec4u>(largest);
    let is_finite = (bits & vec4u(0x7fffffffu)) < vec4u(0x7f800000u);
    return select(bitcast<vec4f>(bits | vec4u(0x7fc00000u)), value, is_finite);
}
