// The end of conv2d.wgsl that stores the sums, after `finish`, which is appended. ACCUMULATE is a constant, because loads compile even if they never run.
fn write_tile(acc: ptr<function, array<V, ROWS * PIXELS>>, row: u32, last_row: u32, column: u32, channel: u32) {
    // Past the edge, an output takes the address of the last one inside. Stores go from the last output to the
    // first, so the right value stays, and no store needs a condition of its own.
    var row_at: array<u32, ROWS>;
    var column_at: array<u32, PIXELS>;
    #for r in 0..ROWS
    row_at[$r] = min(row + $r, last_row) * shape.out_width * shape.out_vectors;
    #end
    #for p in 0..PIXELS
    column_at[$p] = min(column + $p, shape.out_width - 1u) * shape.out_vectors + channel;
    #end
    if ACCUMULATE == 1u {
        #for r in 0..ROWS
        #for p in 0..PIXELS
        (*acc)[$r * PIXELS + $p] += output[row_at[$r] + column_at[$p]];
        #end
        #end
    }
    #for r in 0..ROWS
    #for p in 0..PIXELS
    {
        let value = (*acc)[(ROWS - 1u - $r) * PIXELS + PIXELS - 1u - $p];
        let at = row_at[ROWS - 1u - $r] + column_at[PIXELS - 1u - $p];
        output[at] = finish(at, value);
    }
    #end
    #end
}
