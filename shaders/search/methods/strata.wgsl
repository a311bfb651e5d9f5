// Latin hypercubes (McKay, Beckman and Conover 1979): of `count` points in a row, each dimension has one in each of
// `count` layers. A dimension's order of layers is a permutation by hashing (Kensler, Correlated Multi-Jittered
// Sampling, 2013), which needs no memory.
struct Hyper { count: u32 }

const JITTER = 1u;
const ORDER = 2u;

// A permutation of the numbers below a power of two, as another for each key.
fn scrambled(value: u32, mask: u32, key: vec4u) -> u32 {
    var i = value;
    i ^= key.x; i *= 0xe170893du; i ^= key.x >> 16u;
    i ^= (i & mask) >> 4u; i ^= key.x >> 8u; i *= 0x0929eb3fu; i ^= key.x >> 23u;
    i ^= (i & mask) >> 1u; i *= 1u | (key.x >> 27u); i *= 0x6935fa69u;
    i ^= (i & mask) >> 11u; i *= 0x74dcb303u; i ^= (i & mask) >> 2u; i *= 0x9e501cc3u;
    i ^= (i & mask) >> 2u; i *= 0xc860a3dfu; i &= mask; i ^= i >> 5u;
    return i & mask;
}

// The same of the numbers below `count`: what falls outside is permuted again, which half of all numbers need at most.
fn permuted(value: u32, count: u32, key: vec4u) -> u32 {
    var mask = count - 1u;
    mask |= mask >> 1u; mask |= mask >> 2u; mask |= mask >> 4u; mask |= mask >> 8u; mask |= mask >> 16u;
    var i = scrambled(value, mask, key);
    for (var again = 0u; again < 256u && i >= count; again++) {
        i = scrambled(i, mask, key);
    }
    return (i + key.y % count) % count;
}

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    let number = progress[GENERATION] * run.members + member;
    let round = number / hyper.count;
    let seed = vec2u(run.seed_low, run.seed_high);
    let key = random_words(vec4u(dimension, ORDER, round, 1u), seed);
    let layer = permuted(number % hyper.count, hyper.count, key);
    let jitter = uniform_of(element, JITTER).x;
    points[element] = clamp(2.0 * ((f32(layer) + jitter) / f32(hyper.count)) - 1.0, -1.0, 1.0);
}
