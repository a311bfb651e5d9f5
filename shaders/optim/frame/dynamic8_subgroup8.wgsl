// As dynamic8.wgsl, bit for bit, for subgroups of eight lanes: what the decades differ in lies in tables of eight numbers, one
// in each lane, from which a shuffle looks up. The eighth decade is the top, and on the way back zero too.

struct Decades {
    // A number's magnitude is (18 m + offset) unit: with the top's and zero's chosen so that they are 1 and 0.
    offset: f32,
    unit: f32,
    // The magnitude that the next decade begins with.
    next: f32,
    pieces: f32,
    per_unit: f32,
}

var<private> decades_signed: Decades;
var<private> decades_unsigned: Decades;

fn of_lane(lane: u32, low: vec4f, high: vec4f) -> f32 {
    let four = select(low, high, lane >= 4u);
    let two = select(four.xy, four.zw, (lane & 2u) != 0u);
    return select(two.x, two.y, (lane & 1u) != 0u);
}

fn begin_codes(lane: u32) {
    decades_signed = Decades(
        of_lane(lane, vec4f(-7.0, -23.0, -55.0, -119.0), vec4f(-247.0, -503.0, -1015.0, -9.0)),
        of_lane(lane, vec4f(5e-8, 2.5e-7, 1.25e-6, 6.25e-6), vec4f(3.125e-5, 1.5625e-4, 7.8125e-4, 1.0 / 2295.0)),
        of_lane(lane, vec4f(1.9e-6, 1.45e-5, 1.225e-4, 1.1125e-3), vec4f(1.05625e-2, 0.1028125, 0.996484375, 2.0)),
        of_lane(lane, vec4f(1.0, 2.0, 4.0, 8.0), vec4f(16.0, 32.0, 64.0, 128.0)),
        of_lane(lane, vec4f(2e7, 4e6, 8e5, 1.6e5), vec4f(3.2e4, 6.4e3, 1.28e3, 0.0)),
    );
    decades_unsigned = Decades(
        of_lane(lane, vec4f(-23.0, -55.0, -119.0, -247.0), vec4f(-503.0, -1015.0, -2039.0, -18.0)),
        of_lane(lane, vec4f(2.5e-8, 1.25e-7, 6.25e-7, 3.125e-6), vec4f(1.5625e-5, 7.8125e-5, 3.90625e-4, 1.0 / 4590.0)),
        of_lane(lane, vec4f(1.45e-6, 1.225e-5, 1.1125e-4, 1.05625e-3), vec4f(1.028125e-2, 0.10140625, 0.9982421875, 2.0)),
        of_lane(lane, vec4f(2.0, 4.0, 8.0, 16.0), vec4f(32.0, 64.0, 128.0, 256.0)),
        of_lane(lane, vec4f(4e7, 8e6, 1.6e6, 3.2e5), vec4f(6.4e4, 1.28e4, 2.56e3, 0.0)),
    );
}

fn looked_up(table: f32, lane: vec4u) -> vec4f {
    return vec4f(
        subgroupShuffle(table, lane.x),
        subgroupShuffle(table, lane.y),
        subgroupShuffle(table, lane.z),
        subgroupShuffle(table, lane.w),
    );
}

// The last bits of an exponent: those of 2^e are 7 for 1, then 0 to 6, and 7 again for 256.
fn exponent_bits(x: vec4f) -> vec4u {
    return (bitcast<vec4u>(x) >> vec4u(23u)) & vec4u(7u);
}

fn opened_signed(word: u32, scale: f32) -> vec4f {
    let doubled = (vec4u(vec2u(word << 1u, word >> 7u), vec2u(word) >> vec2u(15u, 23u)) & vec4u(510u)) - vec4u(254u);
    // Twice the number, or 1 for zero.
    let m = vec4f(max(abs(bitcast<vec4i>(doubled)), vec4i(1)));
    let decade = exponent_bits(m);
    let part = (9.0 * m + looked_up(decades_signed.offset, decade)) * looked_up(decades_signed.unit, decade);
    return bitcast<vec4f>(bitcast<vec4u>(part) ^ (doubled & vec4u(0x80000000u))) * scale;
}

fn opened_unsigned(word: u32, scale: f32) -> vec4f {
    let m = vec4f(bitcast<vec4i>((vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u)) + vec4i(1));
    let decade = exponent_bits(m);
    return (18.0 * m + looked_up(decades_unsigned.offset, decade)) * looked_up(decades_unsigned.unit, decade) * scale;
}

// 2^23, and its bits: added to a whole number, it leaves that in the last bits.
const WHOLE = 8388608.0;
const WHOLE_BITS = 0x4b000000u;

// The decade of magnitudes: a guess by their logarithms, which is right or one too low.
fn decade_of(a: vec4f, next: f32) -> vec4u {
    // From 2^-20 on, 3.16 octaves each.
    let bits = vec4f(max(bitcast<vec4i>(a), vec4i(0x35800000)));
    let guess = bitcast<vec4u>(bits * 3.7724e-8 + (WHOLE - 34.0)) & vec4u(7u);
    return guess + select(vec4u(), vec4u(1u), a >= looked_up(next, guess));
}

// The number of magnitudes in their decades. Numbers that are not below 0 have the order of their bits.
fn number_of(a: vec4f, pieces: vec4f, per_unit: vec4f) -> vec4f {
    let piece = floor((a * per_unit - 2.0 * pieces) * 0.055555556);
    let inside = min(max(bitcast<vec4i>(piece), vec4i()), bitcast<vec4i>(pieces - 1.0));
    return pieces + bitcast<vec4f>(inside);
}

fn code_word(codes: vec4u) -> u32 {
    return codes.x + (codes.y << 8u) + (codes.z << 16u) + (codes.w << 24u) - WHOLE_BITS;
}

fn packed_signed(x: vec4f, encoder: Encoder) -> u32 {
    let a = code_parts(x, encoder);
    let decade = decade_of(a, decades_signed.next);
    let m = number_of(a, looked_up(decades_signed.pieces, decade), looked_up(decades_signed.per_unit, decade));
    let magnitude = bitcast<vec4u>(select(m, vec4f(), a < vec4f(2.75e-7)));
    let number = bitcast<vec4f>(magnitude | (bitcast<vec4u>(x) & vec4u(0x80000000u)));
    // There is no -128.
    let word = code_word(max(bitcast<vec4u>(number + (WHOLE + 127.0)), vec4u(WHOLE_BITS)));
    return select(select(word, 0x7f7f7f7fu, encoder.bits == 0u), 0xffffffffu, encoder.bits >= 0x7f800000u);
}

fn packed_unsigned(x: vec4f, encoder: Encoder) -> u32 {
    let a = code_parts(x, encoder);
    let decade = decade_of(a, decades_unsigned.next);
    let m = number_of(a, looked_up(decades_unsigned.pieces, decade), looked_up(decades_unsigned.per_unit, decade));
    // What is not zero, by its bits, never becomes zero: a root of it is divided by.
    let is_zero = (bitcast<vec4u>(x) & vec4u(0x7fffffffu)) == vec4u();
    let word = code_word(bitcast<vec4u>(select(m, vec4f(1.0), is_zero) + (WHOLE - 1.0)));
    return select(select(word, 0u, encoder.bits == 0u), 0xffffffffu, encoder.bits >= 0x7f800000u);
}
