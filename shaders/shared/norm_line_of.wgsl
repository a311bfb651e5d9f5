// The line of a lane of quad `i`. Padding belongs to the last line of its image.
fn line_of(i: u32, lane: u32) -> u32 {
    let group = (i % ROW_QUADS * 4u + lane) / GROUP_COLUMNS;
    return i / (ROWS * ROW_QUADS) * GROUPS + min(group, GROUPS - 1u);
}
