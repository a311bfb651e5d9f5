alias T = vec4f;

// Stores a quad of a row of a table of whole quads, for kernels whose `shape` has `accumulate`.
fn store_row(row: u32, quad: u32, sum: vec4f) {
    let at = row * QUADS + quad;
    var value = sum;
    if shape.accumulate != 0u {
        value += table[at];
    }
    table[at] = value;
}
