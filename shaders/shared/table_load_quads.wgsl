alias T = vec4f;

// Loads a quad of a row of a table of whole quads.
fn load_row(row: u32, quad: u32) -> vec4f {
    return table[row * QUADS + quad];
}
