// Halton's sequence (Halton 1960), a prime base for each dimension, whose digits are permuted at random, each place of
// each base by its own permutation (Owen, A randomized Halton algorithm in R, 2017). `state` holds the bases.
struct Hyper { scrambles: u32 }

const DIGITS = 1u;
const TAIL = 2u;

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    let base = state[dimension];
    // The first of the sequence is a corner.
    var rest = progress[GENERATION] * run.members + member + select(1u, 0u, hyper.scrambles != 0u);
    let seed = vec2u(run.seed_low, run.seed_high);
    var sum = 0.0;
    var unit = 1.0 / f32(base);
    // Beyond 2^-26 digits change nothing.
    for (var place = 0u; place < 32u && unit > 1.5e-8; place++) {
        var digit = rest % base;
        rest /= base;
        if hyper.scrambles != 0u {
            // Of a prime base a multiple and a shift are a permutation.
            let words = random_words(vec4u(dimension, DIGITS, place, 1u), seed);
            digit = (digit * (1u + below(words.x, base - 1u)) + below(words.y, base)) % base;
        }
        sum += f32(digit) * unit;
        unit /= f32(base);
    }
    points[element] = clamp(2.0 * sum - 1.0, -1.0, 1.0);
}
