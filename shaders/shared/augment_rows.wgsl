// Quads along the rows: each of their elements is gathered.
fn element_of(plane: u32, row: u32, column: u32, words: vec4u) -> f32 {
    if column >= WIDTH {
        return 0.0;
    }
    let place = source_of(words, i32(row), i32(column));
    if !is_inside(place) {
        return shape.fill;
    }
    let taken = u32(place.y);
    return x[(plane * FROM_HEIGHT + u32(place.x)) * FROM_QUADS + taken / 4u][taken % 4u];
}

fn value_of(image: u32, at: u32, words: vec4u) -> vec4f {
    let plane = image * CHANNELS + at / QUADS / HEIGHT;
    let row = at / QUADS % HEIGHT;
    let column = at % QUADS * 4u;
    return vec4f(
        element_of(plane, row, column, words),
        element_of(plane, row, column + 1u, words),
        element_of(plane, row, column + 2u, words),
        element_of(plane, row, column + 3u, words),
    );
}
