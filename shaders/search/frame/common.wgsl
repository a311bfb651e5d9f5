// What all kernels of a search share: a population in columns, its keys and ranks, and how far the search is.
// Points lie in a box of their own, [-1, 1] in each bounded dimension; `box_table` leads from there to the user's units.

struct Run {
    members: u32,
    dimensions: u32,
    samples: u32,
    history: u32,
    seed_low: u32,
    seed_high: u32,
}

@group(0) @binding(0) var<uniform> run: Run;
@group(0) @binding(1) var<uniform> hyper: Hyper;
@group(0) @binding(2) var<storage, read> box_table: array<f32>;
@group(0) @binding(3) var<storage, read_write> progress: array<u32>;
@group(0) @binding(4) var<storage, read_write> points: array<f32>;
@group(0) @binding(5) var<storage, read_write> keys: array<u32>;
@group(0) @binding(6) var<storage, read_write> ranks: array<u32>;
@group(0) @binding(7) var<storage, read_write> state: array<u32>;
@group(0) @binding(8) var<storage, read_write> rows: array<f32>;
@group(0) @binding(9) var<storage, read_write> losses: array<f32>;

// Words of `progress`; the best point follows, then the same in the user's units, then the history of best keys.
const GENERATION = 0u;
const BEST_KEY = 1u;
const IMPROVED = 2u;
const NAN_LOW = 3u;
const NAN_HIGH = 4u;
const LAST_NAN = 5u;
const BEST_POINT = 16u;

// Keys of losses are in the order of losses; of numbers that are none, behind all others.
const NAN_KEY = 0xfffffffeu;
const NO_KEY = 0xffffffffu;

const BOX_WORDS = 8u;

fn key_of(loss: f32) -> u32 {
    let bits = bitcast<u32>(loss);
    let magnitude = bits & 0x7fffffffu;
    if magnitude > 0x7f800000u {
        return NAN_KEY;
    }
    // Zero has one key.
    if magnitude == 0u {
        return 0x80000000u;
    }
    return select(bits | 0x80000000u, ~bits, bits > 0x7fffffffu);
}

// Of a key that is not NAN_KEY.
fn loss_of(key: u32) -> f32 {
    return bitcast<f32>(select(~key, key & 0x7fffffffu, key > 0x7fffffffu));
}

// Memory of a method; words and not numbers, so that keys go through it unchanged.
fn held(at: u32) -> f32 {
    return bitcast<f32>(state[at]);
}

fn hold(at: u32, value: f32) {
    state[at] = bitcast<u32>(value);
}

fn best_point(dimension: u32) -> f32 {
    return bitcast<f32>(progress[BEST_POINT + dimension]);
}

fn words_of(element: u32, stream: u32) -> vec4u {
    return random_words(vec4u(element, stream, progress[GENERATION], 0u), vec2u(run.seed_low, run.seed_high));
}

fn uniform_of(element: u32, stream: u32) -> vec4f {
    return random_uniform(words_of(element, stream));
}

// A normal number for an element: four neighbours share one draw.
fn normal_of(element: u32, stream: u32) -> f32 {
    return random_normal(words_of(element / 4u, stream))[element % 4u];
}

// A number below `count`.
fn below(word: u32, count: u32) -> u32 {
    return random_high(word, count);
}

fn is_bounded(dimension: u32) -> bool {
    return box_table[dimension * BOX_WORDS + 5u] != 0.0;
}

// The point itself inside the box, and its mirror image at the wall outside.
fn inside(u: f32, dimension: u32) -> f32 {
    if !is_bounded(dimension) || abs(u) <= 1.0 {
        return u;
    }
    let y = (u + 1.0) * 0.25;
    let t = 4.0 * (y - floor(y));
    return clamp(select(t, 4.0 - t, t > 2.0) - 1.0, -1.0, 1.0);
}

// The nearest point in the box.
fn clipped(u: f32, dimension: u32) -> f32 {
    return select(u, clamp(u, -1.0, 1.0), is_bounded(dimension));
}

// A point of the box, each as likely; of the normal distribution where there is none.
fn anywhere(element: u32, dimension: u32, stream: u32) -> f32 {
    let words = words_of(element, stream);
    return select(random_normal(words).x, 2.0 * random_uniform(words).x - 1.0, is_bounded(dimension));
}

// In the user's units.
fn decoded(u: f32, dimension: u32) -> f32 {
    let at = dimension * BOX_WORDS;
    var value = box_table[at] + box_table[at + 1u] * u;
    let kind = u32(box_table[at + 4u]);
    if (kind & 1u) != 0u {
        value = exp(value);
    }
    if (kind & 2u) != 0u {
        value = floor(value);
    }
    return clamp(value, box_table[at + 2u], box_table[at + 3u]);
}
