// The end of conv2d.wgsl that stores the sums, after `finish`, which is appended. Constants: FINISHED rows of the tile at
// once, which are STORED of its TILE_SUMS; ACCUMULATE, because loads compile even if they never run.
fn write_tile(acc: ptr<function, array<V, ROWS * PIXELS>>, row: u32, last_row: u32, column: u32, channel: u32) {
    // Past the edge, an output takes the address of the last one inside. Stores go from the last output to the
    // first, so the right value stays, and no store needs a condition of its own.
    var column_at: array<u32, PIXELS>;
    #for p in 0..PIXELS
    column_at[$p] = min(column + $p, shape.out_width - 1u) * shape.out_vectors + channel;
    #end
    // So many rows at a time, with the others moved up: a store and `finish` stand here once for each of their outputs and not
    // for each of the tile, and compilers take their time with them.
    let rows = select(min(ROWS, last_row + 1u - row), FINISHED, ROWS == FINISHED);
    for (var r = 0u; r < rows; r += FINISHED) {
        var row_at: array<u32, FINISHED>;
        #for j in 0..FINISHED
        row_at[$j] = min(row + r + $j, last_row) * shape.out_width * shape.out_vectors;
        #end
        if ACCUMULATE == 1u {
            #for j in 0..FINISHED
            #for p in 0..PIXELS
            (*acc)[$j * PIXELS + $p] += output[row_at[$j] + column_at[$p]];
            #end
            #end
        }
        #for j in 0..FINISHED
        #for p in 0..PIXELS
        {
            let at = row_at[FINISHED - 1u - $j] + column_at[PIXELS - 1u - $p];
            output[at] = finish(at, (*acc)[STORED - 1u - ($j * PIXELS + $p)]);
        }
        #end
        #end
        #for i in STORED..TILE_SUMS
        (*acc)[$i - STORED] = (*acc)[$i];
        #end
    }
}
