alias T = f32;

// Loads a quad of a row of a table whose rows are not whole quads. Past the end of a row, its last element is used.
fn load_row(row: u32, quad: u32) -> vec4f {
    let at = vec4u(row * COLUMNS) + min(vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(COLUMNS - 1u));
    return vec4f(table[at.x], table[at.y], table[at.z], table[at.w]);
}
