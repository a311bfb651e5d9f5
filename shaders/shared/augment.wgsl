// Each pixel of an image becomes another one of it, or `fill` where there is none, by the random numbers of the image:
// one block of Philox for each. Joined with `source_of`, which gives the place of the pixel to read, with
// `value_of`, which loads a quad, and with a shared text of random numbers.
struct Shape {
    quads: u32,
    accumulate: u32,
    fill: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
// Sizes of what is erased: rows and columns in turn.
@group(0) @binding(2) var<storage, read> table: array<u32>;
// Seed and step, the low word of each first.
@group(0) @binding(3) var<storage, read> random: array<vec4u>;
@group(0) @binding(4) var<storage, read_write> y: array<vec4f>;

// A random number below `end`.
fn below(word: u32, end: u32) -> i32 {
    return i32(random_high(word, end));
}

fn is_inside(place: vec2i) -> bool {
    return all(place >= vec2i(0)) && place.x < i32(FROM_HEIGHT) && place.y < i32(FROM_WIDTH);
}

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.quads {
        return;
    }
    let image = i / IMAGE_QUADS;
    let words = random_words(vec4u(image, STREAM, random[0].zw), random[0].xy);
    let value = value_of(image, i % IMAGE_QUADS, words);
    if shape.accumulate > 0u {
        y[i] += value;
    } else {
        y[i] = value;
    }
}
