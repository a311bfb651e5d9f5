// Rounds up or down at random, to the nearer one more likely, so that the mean is the number itself. Finite numbers stay
// finite: those above the largest of 16 bits are rounded down. NaN is made quiet, so that one whose bits are all in the lower
// half stays NaN.
fn packed_bf16(x: vec4f, random: vec4u) -> vec2u {
    let bits = bitcast<vec4i>(x);
    let size = bits & vec4i(0x7fffffff);
    let more = select(bitcast<vec4i>(random), vec4i(), size > vec4i(0x7f7effff));
    let quiet = select(vec4i(), vec4i(0x00400000), size > vec4i(0x7f800000));
    return halves_of(bitcast<vec4u>((bits + more) | quiet));
}

const STATE_STREAM = 0x74617473u;

fn state_round(words: vec2u, key: u32) -> vec2u {
    return vec2u(random_high(0xd256d193u, words.x) ^ key ^ words.y, 0xd256d193u * words.x);
}

// 16 random bits for each of four elements. They depend only on the element and the attempted step, so that a resumed run
// rounds alike. Four slots use them in different orders, so that no element rounds two slots by the same bits.
// Philox2x32 with 7 rounds, the fewest that its authors test (Salmon et al., SC 2011), because these bits only decide roundings.
fn state_random(at: u32, stream: u32) -> vec4u {
    let key = (STATE_STREAM + stream) ^ call.step_high;
    var words = state_round(vec2u(call.element + at, call.step_low), key);
    words = state_round(words, key + 0x9e3779b9u);
    words = state_round(words, key + 0x3c6ef372u);
    words = state_round(words, key + 0xdaa66d2bu);
    words = state_round(words, key + 0x78dde6e4u);
    words = state_round(words, key + 0x1715609du);
    words = state_round(words, key + 0xb54cda56u);
    return vec4u(words.x & 0xffffu, words.x >> 16u, words.y & 0xffffu, words.y >> 16u);
}
