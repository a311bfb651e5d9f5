// The largest of numbers, which is NaN if one of them is; joined with math.wgsl.

// Keeps NaN, unlike `max`.
fn larger(a: vec4f, b: vec4f) -> vec4f {
    return select(a, b, (b > a) | is_nan(b));
}

// In all lanes.
fn largest_lane(value: vec4f) -> vec4f {
    let pairs = larger(value, value.yxwz);
    return larger(pairs, pairs.zwxy);
}

// `value`, or NaN where the largest number of its line is not finite, as in torch. By its bits, as in `is_nan`.
fn unless_infinite(largest: vec4f, value: vec4f) -> vec4f {
    let bits = bitcast<vec4u>(largest);
    let is_finite = (bits & vec4u(0x7fffffffu)) < vec4u(0x7f800000u);
    return select(bitcast<vec4f>(bits | vec4u(0x7fc00000u)), value, is_finite);
}
