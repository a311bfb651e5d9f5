// Mirrors some images. Its own inverse.
fn source_of(words: vec4u, row: i32, column: i32) -> vec2i {
    let flips = (words.x >> 8u) < CHANCE;
    return vec2i(
        select(row, i32(HEIGHT) - 1 - row, flips && ROWS > 0u),
        select(column, i32(WIDTH) - 1 - column, flips && ROWS == 0u),
    );
}
