// Rounded up or down at random, the likelier the nearer, so that the mean is the number itself. What is finite stays so.
fn packed_bf16(x: vec4f, random: vec2u) -> vec2u {
    let bits = bitcast<vec4u>(x);
    let more = vec4u(random.x & 0xffffu, random.x >> 16u, random.y & 0xffffu, random.y >> 16u);
    let sum = bits + more;
    let infinite = vec4u(0x7f800000u);
    // Above the largest of 16 bits there is none to go to.
    let rounded = select(sum, bits, (sum & infinite) == infinite);
    return halves_of(select(rounded, unrounded(bits), (bits & infinite) == infinite));
}

const STATE_STREAM = 0x74617473u;

// Philox of 7 rounds, the fewest with which it passes the tests of its authors: these bits decide roundings alone.
fn state_words(counter: vec4u) -> vec4u {
    let more = vec2u(0x9e3779b9u, 0xbb67ae85u);
    var words = random_round(counter, vec2u());
    words = random_round(words, more);
    words = random_round(words, 2u * more);
    words = random_round(words, 3u * more);
    words = random_round(words, 4u * more);
    words = random_round(words, 5u * more);
    return random_round(words, 6u * more);
}

// 128 bits for each vector of four and each two slots: of the element and the attempted step, and nothing else, so that
// a run that was resumed rounds alike.
fn state_random(at: u32, pair: u32) -> vec4u {
    return state_words(vec4u(call.element + at, STATE_STREAM + pair, call.step_low, call.step_high));
}
