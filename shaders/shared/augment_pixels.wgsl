// Quads along the channels: those of a pixel move together.
fn value_of(image: u32, at: u32, words: vec4u) -> vec4f {
    let quad = at % QUADS;
    let place = source_of(words, i32(at / QUADS / WIDTH), i32(at / QUADS % WIDTH));
    if !is_inside(place) {
        let channels = vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u);
        return select(vec4f(0.0), vec4f(shape.fill), channels < vec4u(CHANNELS));
    }
    let pixel = (image * FROM_HEIGHT + u32(place.x)) * FROM_WIDTH + u32(place.y);
    return x[pixel * QUADS + quad];
}
