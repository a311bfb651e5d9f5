alias T = f32;

// Stores a quad of a row of a table whose rows are not whole quads, for kernels whose `shape` has `accumulate`.
fn store_row(row: u32, quad: u32, sum: vec4f) {
    let first = row * COLUMNS + quad * 4u;
    #for j in 0..4
    if quad * 4u + $j < COLUMNS {
        var value = sum[$j];
        if shape.accumulate != 0u {
            value += table[first + $j];
        }
        table[first + $j] = value;
    }
    #end
}
