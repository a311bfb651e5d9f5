// Takes a part of the padded image. Backward, the gradient of a pixel is that of its place in the part.
fn source_of(words: vec4u, row: i32, column: i32) -> vec2i {
    let first = vec2i(below(words.x, TOPS), below(words.y, LEFTS)) - vec2i(i32(PAD_ROWS), i32(PAD_COLUMNS));
    return vec2i(row, column) + select(first, -first, BACKWARD > 0u);
}
