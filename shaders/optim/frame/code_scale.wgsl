// The scale that all codes of a block share.

// The largest of four magnitudes, as bits, which have the order of the numbers and in which NaN comes last.
fn code_most(x: vec4f) -> u32 {
    let sizes = bitcast<vec4u>(x) & vec4u(0x7fffffffu);
    return max(max(sizes.x, sizes.y), max(sizes.z, sizes.w));
}

// Of the largest magnitude of a block; below the normal numbers the block is zero.
fn code_scale(most: u32) -> u32 {
    return select(most, 0u, most < 0x00800000u);
}

// What magnitudes are multiplied by, one after the other, to be parts of a scale; and the scale as bits.
struct Encoder { down: f32, inverse: f32, bits: u32 }

fn encoder_of(most: u32) -> Encoder {
    let bits = code_scale(most);
    let scale = bitcast<f32>(bits);
    // 2^100 and 2^-24: so that no reciprocal is below the normal numbers.
    let down = select(1.0, 5.9604645e-8, scale > 1.2676506e30);
    return Encoder(down, 1.0 / (scale * down), bits);
}

// Magnitudes in parts of the scale, which is finite and not zero.
fn code_parts(x: vec4f, encoder: Encoder) -> vec4f {
    return (abs(x) * encoder.down) * encoder.inverse;
}
