// Rounds to the nearest, ties to even, as conversions to bf16 do.
fn nearest_bf16(x: vec4f) -> vec2u {
    let bits = bitcast<vec4u>(x);
    let infinite = vec4u(0x7f800000u);
    let rounded = bits + vec4u(0x7fffu) + ((bits >> vec4u(16u)) & vec4u(1u));
    return halves_of(select(rounded, unrounded(bits), (bits & infinite) == infinite));
}
