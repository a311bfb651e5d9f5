// Numbers of 16 bits, the upper half of an f32 each, two a word.

fn opened_bf16(words: vec2u) -> vec4f {
    return bitcast<vec4f>(vec4u(words.x << 16u, words.x & 0xffff0000u, words.y << 16u, words.y & 0xffff0000u));
}

fn halves_of(bits: vec4u) -> vec2u {
    return vec2u((bits.x >> 16u) | (bits.y & 0xffff0000u), (bits.z >> 16u) | (bits.w & 0xffff0000u));
}

// Infinities, and NaN made quiet, so that one whose bits are all in the lower half stays one.
fn unrounded(bits: vec4u) -> vec4u {
    return select(bits, bits | vec4u(0x00400000u), (bits & vec4u(0x7fffffffu)) > vec4u(0x7f800000u));
}
