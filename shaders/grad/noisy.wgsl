// Adds noise to elements only: padding stays zero. `real` holds the number of elements in each block of 64.
const NOISE_STREAM = 0x65736f6eu;

fn transformed(g: vec4f, p: vec4f, at: u32) -> vec4f {
    let place = vec4u(at % 16u * 4u) + vec4u(0u, 1u, 2u, 3u);
    let counter = vec4u(call.element + at, NOISE_STREAM, call.step_low, call.step_high);
    let noise = call.noise * random_normal(random_words(counter, vec2u(call.seed_low, call.seed_high)));
    let noisy = bounds_clipped(g) + select(vec4f(), noise, place < vec4u(real[at / 16u]));
    return bounds_penalised(noisy, p);
}
