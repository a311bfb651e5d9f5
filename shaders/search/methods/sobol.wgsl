// Sobol' sequence (Sobol' 1967) in the order of Gray's code (Antonov and Saleev 1979), with Owen's scrambling by hashing
// (Burley, Practical Hash-based Owen Scrambling, 2020). `state`: 32 direction numbers for each dimension.
struct Hyper { scrambles: u32 }

const SEEDS = 1u;

// Permutes digits so that each decides on the permutation of those behind it; of bits in reverse.
fn permuted(bits: u32, seed: u32) -> u32 {
    var word = bits + seed;
    word ^= word * 0x6c50b47cu;
    word ^= word * 0xb82f1e52u;
    word ^= word * 0xc7afe638u;
    return word ^ (word * 0x8d22f6e6u);
}

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    let number = progress[GENERATION] * run.members + member;
    let gray = number ^ (number >> 1u);
    var word = 0u;
    for (var bit = 0u; bit < 32u; bit++) {
        word ^= select(0u, state[dimension * 32u + bit], ((gray >> bit) & 1u) != 0u);
    }
    if hyper.scrambles != 0u {
        let seed = random_words(vec4u(dimension, SEEDS, 0u, 1u), vec2u(run.seed_low, run.seed_high)).x;
        word = reverseBits(permuted(reverseBits(word), seed));
    }
    // 24 digits are as many as f32 has.
    points[element] = 2.0 * (f32(word >> 8u) * 5.9604644775390625e-8) - 1.0;
}
