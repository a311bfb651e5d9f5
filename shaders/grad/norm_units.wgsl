// Bits of 2^-40 and 2^56. If the largest magnitude of a lane lies between them, its sum does not overflow, and elements
// that underflow are negligible.
const SMALL = 0x2b800000u;
const LARGE = 0x5b800000u;

// Multiplies by 2^99, on bits, because devices may flush subnormal numbers to zero.
fn magnified(x: vec4f) -> vec4f {
    let bits = bitcast<vec4u>(x) & vec4u(0x7fffffffu);
    let normal = bitcast<vec4f>(bits) * 6.338253001141147e29;
    return select(normal, vec4f(bits) * 8.881784197001252e-16, bits < vec4u(0x00800000u));
}
