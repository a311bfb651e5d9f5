// Random numbers as a pure function of a counter and a key: Philox 4x32-10 (Salmon et al., SC 2011).

// The high word of a product; WGSL only has the low one.
fn random_high(a: u32, b: u32) -> u32 {
    let low = (a & 0xffffu) * (b & 0xffffu);
    let middle = (a >> 16u) * (b & 0xffffu) + (low >> 16u);
    let other = (a & 0xffffu) * (b >> 16u) + (middle & 0xffffu);
    return (a >> 16u) * (b >> 16u) + (middle >> 16u) + (other >> 16u);
}

fn random_round(words: vec4u, key: vec2u) -> vec4u {
    return vec4u(
        random_high(0xcd9e8d57u, words.z) ^ words.y ^ key.x,
        0xcd9e8d57u * words.z,
        random_high(0xd2511f53u, words.x) ^ words.w ^ key.y,
        0xd2511f53u * words.x,
    );
}

// Unrolled, so that kernels with random numbers have no more loop iterations than without.
fn random_words(counter: vec4u, key: vec2u) -> vec4u {
    let more = vec2u(0x9e3779b9u, 0xbb67ae85u);
    var words = random_round(counter, key);
    words = random_round(words, key + more);
    words = random_round(words, key + 2u * more);
    words = random_round(words, key + 3u * more);
    words = random_round(words, key + 4u * more);
    words = random_round(words, key + 5u * more);
    words = random_round(words, key + 6u * more);
    words = random_round(words, key + 7u * more);
    words = random_round(words, key + 8u * more);
    return random_round(words, key + 9u * more);
}

// Uniform multiples of 2^-24 in [0, 1).
fn random_uniform(words: vec4u) -> vec4f {
    return vec4f(words >> vec4u(8u)) * 5.9604644775390625e-8;
}

// Standard normal numbers, two from each pair of words (Box and Muller 1958).
fn random_normal(words: vec4u) -> vec4f {
    // In (0, 1], so that the logarithm is finite.
    let radius = sqrt(-2.0 * log((vec2f(words.xz >> vec2u(8u)) + 1.0) * 5.9604644775390625e-8));
    let angle = vec2f(words.yw >> vec2u(8u)) * (6.283185307179586 * 5.9604644775390625e-8);
    return vec4f(radius * cos(angle), radius * sin(angle));
}
