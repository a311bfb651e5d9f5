// The codes of 8 bits, four a word, as src/optim/rule/dynamic8.rs describes them. Computed rather than looked up: a table of
// 256 numbers would be gathered from.

const CODE_TOP_SIGNED = 128.0;
const CODE_TOP_UNSIGNED = 256.0;

fn code_numbers(word: u32) -> vec4u {
    return (vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
}

fn code_word(codes: vec4u) -> u32 {
    return codes.x | (codes.y << 8u) | (codes.z << 16u) | (codes.w << 24u);
}

// What is exact in f32: so that a product alone rounds, on every device alike.
fn code_pieces(m: vec4f) -> vec4f {
    let pieces = bitcast<vec4f>(bitcast<vec4u>(m) & vec4u(0x7f800000u));
    return 18.0 * m - 16.0 * pieces + 9.0;
}

fn opened_signed(word: u32, scale: f32) -> vec4f {
    let codes = code_numbers(word);
    let above = codes >= vec4u(127u);
    let m = vec4f(select(127u - codes, codes - 127u, above));
    var unit = select(vec4f(5e-8), vec4f(2.5e-7), m >= vec4f(2.0));
    unit = select(unit, vec4f(1.25e-6), m >= vec4f(4.0));
    unit = select(unit, vec4f(6.25e-6), m >= vec4f(8.0));
    unit = select(unit, vec4f(3.125e-5), m >= vec4f(16.0));
    unit = select(unit, vec4f(1.5625e-4), m >= vec4f(32.0));
    unit = select(unit, vec4f(7.8125e-4), m >= vec4f(64.0));
    var part = code_pieces(m) * unit;
    part = select(part, vec4f(1.0), m >= vec4f(CODE_TOP_SIGNED));
    part = select(part, vec4f(), m < vec4f(1.0));
    return select(-part, part, above) * scale;
}

fn opened_unsigned(word: u32, scale: f32) -> vec4f {
    let m = vec4f(code_numbers(word) + vec4u(1u));
    var unit = select(vec4f(2.5e-8), vec4f(1.25e-7), m >= vec4f(4.0));
    unit = select(unit, vec4f(6.25e-7), m >= vec4f(8.0));
    unit = select(unit, vec4f(3.125e-6), m >= vec4f(16.0));
    unit = select(unit, vec4f(1.5625e-5), m >= vec4f(32.0));
    unit = select(unit, vec4f(7.8125e-5), m >= vec4f(64.0));
    unit = select(unit, vec4f(3.90625e-4), m >= vec4f(128.0));
    var part = code_pieces(m) * unit;
    part = select(part, vec4f(1.0), m >= vec4f(CODE_TOP_UNSIGNED));
    return select(part, vec4f(), m < vec4f(2.0)) * scale;
}

fn code_piece(a: vec4f, pieces: vec4f, per_unit: vec4f) -> vec4f {
    let piece = floor((a * per_unit - 2.0 * pieces) * 0.055555556);
    return pieces + clamp(piece, vec4f(), pieces - 1.0);
}

fn packed_signed(x: vec4f, encoder: Encoder) -> u32 {
    let bits = encoder.bits;
    if bits == 0u || bits >= 0x7f800000u {
        return select(0xffffffffu, 0x7f7f7f7fu, bits == 0u);
    }
    let a = code_parts(x, encoder);
    var reached = a >= vec4f(1.9e-6);
    var pieces = select(vec4f(1.0), vec4f(2.0), reached);
    var per_unit = select(vec4f(2e7), vec4f(4e6), reached);
    reached = a >= vec4f(1.45e-5);
    pieces = select(pieces, vec4f(4.0), reached);
    per_unit = select(per_unit, vec4f(8e5), reached);
    reached = a >= vec4f(1.225e-4);
    pieces = select(pieces, vec4f(8.0), reached);
    per_unit = select(per_unit, vec4f(1.6e5), reached);
    reached = a >= vec4f(1.1125e-3);
    pieces = select(pieces, vec4f(16.0), reached);
    per_unit = select(per_unit, vec4f(3.2e4), reached);
    reached = a >= vec4f(1.05625e-2);
    pieces = select(pieces, vec4f(32.0), reached);
    per_unit = select(per_unit, vec4f(6.4e3), reached);
    reached = a >= vec4f(0.1028125);
    pieces = select(pieces, vec4f(64.0), reached);
    per_unit = select(per_unit, vec4f(1.28e3), reached);
    var m = code_piece(a, pieces, per_unit);
    m = select(m, vec4f(CODE_TOP_SIGNED), a >= vec4f(0.996484375));
    let numbers = vec4u(select(m, vec4f(), a < vec4f(2.75e-7)));
    return code_word(select(127u + numbers, 127u - min(numbers, vec4u(127u)), x < vec4f()));
}

fn packed_unsigned(x: vec4f, encoder: Encoder) -> u32 {
    let bits = encoder.bits;
    if bits == 0u || bits >= 0x7f800000u {
        return select(0xffffffffu, 0u, bits == 0u);
    }
    let a = code_parts(x, encoder);
    var reached = a >= vec4f(1.45e-6);
    var pieces = select(vec4f(2.0), vec4f(4.0), reached);
    var per_unit = select(vec4f(4e7), vec4f(8e6), reached);
    reached = a >= vec4f(1.225e-5);
    pieces = select(pieces, vec4f(8.0), reached);
    per_unit = select(per_unit, vec4f(1.6e6), reached);
    reached = a >= vec4f(1.1125e-4);
    pieces = select(pieces, vec4f(16.0), reached);
    per_unit = select(per_unit, vec4f(3.2e5), reached);
    reached = a >= vec4f(1.05625e-3);
    pieces = select(pieces, vec4f(32.0), reached);
    per_unit = select(per_unit, vec4f(6.4e4), reached);
    reached = a >= vec4f(1.028125e-2);
    pieces = select(pieces, vec4f(64.0), reached);
    per_unit = select(per_unit, vec4f(1.28e4), reached);
    reached = a >= vec4f(0.10140625);
    pieces = select(pieces, vec4f(128.0), reached);
    per_unit = select(per_unit, vec4f(2.56e3), reached);
    var m = code_piece(a, pieces, per_unit);
    m = select(m, vec4f(CODE_TOP_UNSIGNED), a >= vec4f(0.9982421875));
    // What is not zero, by its bits, never becomes zero: a root of it is divided by.
    return code_word(select(vec4u(m) - vec4u(1u), vec4u(), (bitcast<vec4u>(x) & vec4u(0x7fffffffu)) == vec4u()));
}
