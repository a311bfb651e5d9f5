// The end of conv2d.wgsl that stores the largest of each 2x2 sums and its place, as places4.wgsl reads it.
//
// Constants: POOLED_ROWS x POOLED_PIXELS outputs of the tile, of which POOLED_BLOCK share a word, in WORDS words. Alias P:
// a word for each channel of a V.
@group(0) @binding(4) var<storage, read_write> places: array<P>;

// Of a window whose largest element a relu has set to zero.
const NONE: u32 = 4u;

// Keeps NaN, unlike `max`.
fn rectified(value: V) -> V {
    return select(value, V(), value < V());
}

fn consider(value: V, number: u32, largest: ptr<function, V>, place: ptr<function, P>) {
    // A NaN counts as larger than all before it; by its bits, because compilers may take a number for equal to itself.
    let better = (value > *largest) | ((bitcast<P>(value) & P(0x7fffffffu)) > P(0x7f800000u));
    *largest = select(*largest, value, better);
    *place = select(*place, P(number), better);
}

fn write_tile(acc: ptr<function, array<V, ROWS * PIXELS>>, row: u32, last_row: u32, column: u32, channel: u32) {
    // As in conv2d_store.wgsl: clamped addresses, from the last to the first.
    var row_at: array<u32, POOLED_ROWS>;
    var column_at: array<u32, POOLED_PIXELS>;
    #for r in 0..POOLED_ROWS
    row_at[$r] = min(row + $r, last_row) * shape.out_width * shape.out_vectors;
    #end
    #for p in 0..POOLED_PIXELS
    column_at[$p] = min(column + $p, shape.out_width - 1u) * shape.out_vectors + channel;
    #end
    let blocks = (shape.out_width + POOLED_BLOCK - 1u) / POOLED_BLOCK;
    #for r in 0..POOLED_ROWS
    {
    let r = POOLED_ROWS - 1u - $r;
    // Four bits for each window.
    var words: array<P, WORDS>;
    #for p in 0..POOLED_PIXELS
    {
        let p = POOLED_PIXELS - 1u - $p;
        var largest = (*acc)[2u * r * PIXELS + 2u * p];
        var place = P();
        consider((*acc)[2u * r * PIXELS + 2u * p + 1u], 1u, &largest, &place);
        consider((*acc)[(2u * r + 1u) * PIXELS + 2u * p], 2u, &largest, &place);
        consider((*acc)[(2u * r + 1u) * PIXELS + 2u * p + 1u], 3u, &largest, &place);
        if shape.relu == 1u {
            place = select(place, P(NONE), largest <= V());
            largest = rectified(largest);
        }
        let at = row_at[r] + column_at[p];
        output[at] = largest;
        words[p / POOLED_BLOCK] |= place << P(p % POOLED_BLOCK * 4u);
    }
    #end
    let row_of_words = min(row + r, last_row);
    #for w in 0..WORDS
    {
        // As the largest do: words past the edge take the address of the last one, in front of it.
        let block = min(column / POOLED_PIXELS * WORDS + WORDS - 1u - $w, blocks - 1u);
        places[(row_of_words * blocks + block) * shape.out_vectors + channel] = words[WORDS - 1u - $w];
    }
    #end
    }
    #end
}
