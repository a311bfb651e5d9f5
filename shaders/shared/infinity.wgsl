// Infinity, which WGSL has no literal for; and the smaller of two numbers, NaN if either is NaN. Joined with
// math.wgsl.
var<private> infinity_bits: u32 = 0x7f800000u;

fn infinity() -> vec4f {
    return vec4f(bitcast<f32>(infinity_bits));
}

// Keeps NaN, unlike `min`.
fn smaller(a: vec4f, b: vec4f) -> vec4f {
    return select(a, b, (b < a) | is_nan(b));
}
