// What an objective of the user's own reads of its member.
struct Hyper { none: u32 }

const NOISE_STREAM = 0x5eeda11u;

var<private> current_member: u32;
var<private> current_sample: u32;

fn x(i: u32) -> f32 {
    let dimension = min(i, DIMENSIONS - 1u);
    let u = points[dimension * run.members + current_member];
    if PLAIN_BOX {
        let at = dimension * BOX_WORDS;
        return clamp(box_table[at] + box_table[at + 1u] * u, box_table[at + 2u], box_table[at + 3u]);
    }
    return decoded(u, dimension);
}

fn noise(i: u32) -> f32 {
    let key = vec2u(run.seed_low, run.seed_high);
    let counter = vec4u(current_member, NOISE_STREAM + current_sample, progress[GENERATION], i / 4u + 1u);
    return random_normal(random_words(counter, key))[i % 4u];
}
