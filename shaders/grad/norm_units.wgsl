// Bits of 2^-40 and 2^56. Where the largest magnitude of a lane lies between, its sum overflows nowhere, and what is too
// small for it does not count.
const SMALL = 0x2b800000u;
const LARGE = 0x5b800000u;

// Times 2^99. By their bits, because devices may take a number below the normal ones for zero.
fn magnified(x: vec4f) -> vec4f {
    let bits = bitcast<vec4u>(x) & vec4u(0x7fffffffu);
    let normal = bitcast<vec4f>(bits) * 6.338253001141147e29;
    return select(normal, vec4f(bits) * 8.881784197001252e-16, bits < vec4u(0x00800000u));
}
