// The end of conv2d.wgsl that stores the largest of each 2x2 sums and its place, as max_pool2d.wgsl does.
//
// Constants: POOLED_ROWS x POOLED_PIXELS outputs of the tile, WORDS of two places for a V. Alias P: places of a V.
@group(0) @binding(4) var<storage, read_write> places: array<u32>;

const NONE: u32 = 0xffffu;

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

fn write_tile(acc: ptr<function, array<V, ROWS * PIXELS>>, image: u32, row: u32, column: u32, channel: u32) {
    // As in conv2d_store.wgsl: clamped addresses, from the last to the first.
    var row_at: array<u32, POOLED_ROWS>;
    var column_at: array<u32, POOLED_PIXELS>;
    #for r in 0..POOLED_ROWS
    row_at[$r] = (image * shape.out_height + min(row / 2u + $r, shape.out_height - 1u)) * shape.out_width * shape.out_vectors;
    #end
    #for p in 0..POOLED_PIXELS
    column_at[$p] = min(column / 2u + $p, shape.out_width - 1u) * shape.out_vectors + channel;
    #end
    #for r in 0..POOLED_ROWS
    #for p in 0..POOLED_PIXELS
    {
        let r = POOLED_ROWS - 1u - $r;
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
        #for w in 0..WORDS
        places[at * WORDS + $w] = place[2u * $w] | (place[2u * $w + 1u] << 16u);
        #end
    }
    #end
    #end
}
