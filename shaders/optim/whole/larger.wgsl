// The larger magnitudes, compared as bits, so that infinities and NaN are kept: NaN is above infinity.
fn larger(a: vec4f, b: vec4f) -> vec4f {
    let mask = vec4u(0x7fffffffu);
    return bitcast<vec4f>(max(bitcast<vec4u>(a) & mask, bitcast<vec4u>(b) & mask));
}
