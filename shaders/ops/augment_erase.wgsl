// Erases a rectangle of some images: inside of them or, if it is centred on a random pixel, cut by their edges. Erased
// pixels get no gradient, so that the backward pass erases as well.
fn source_of(words: vec4u, row: i32, column: i32) -> vec2i {
    let pair = u32(below(words.y, PAIRS));
    let size = vec2i(i32(table[2u * pair]), i32(table[2u * pair + 1u]));
    var first = vec2i(below(words.z, HEIGHT), below(words.w, WIDTH)) - size / 2;
    if CENTRED == 0u {
        let free = vec2u(vec2i(i32(HEIGHT), i32(WIDTH)) - size) + 1u;
        first = vec2i(below(words.z, free.x), below(words.w, free.y));
    }
    let place = vec2i(row, column);
    let erased = (words.x >> 8u) < CHANCE && all(place >= first) && all(place < first + size);
    return select(place, vec2i(-1), erased);
}
