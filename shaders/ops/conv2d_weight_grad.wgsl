// Partial sums of a convolution's weight gradient for CPU adapters: the LANES of a subgroup hold output
// channels, and each input value is loaded by one lane and broadcast to all.
//
// A part is a run of output rows, or one of COLUMN_PARTS parts of their columns. Constants: PIXELS of ROWS output rows at
// a time, KERNEL_ROWS x KERNEL_WIDTH x VECTORS vec4s of input channels, CHANNELS of each in use, in registers, SUMS in all, of
// which STORED are stored at once; EXCESS, STRIDE_Y, STRIDE and LOADS as in conv2d.wgsl, and X_ROWS of the input that are touched. Where a row is one tile, what it touches
// before BEFORE and from BEHIND on is padding and left out, else there is no such bound.
//
// With POOLED, 2x2 windows of the output were pooled: its gradient is given for each window, with the places of the
// maxima as conv2d_pool.wgsl leaves them, BLOCK windows to a word, and rows, columns and sizes of the output are counted
// in windows of SCALE (2, else 1) rows and columns. PIXELS of a row are WINDOWS of them then, in WORDS words, and ROWS are of
// one row of windows. DIRECT is its opposite, and both choose text. With
// PLANAR, the input is a single channel whose rows lie in quads: a lane loads LANE (4, else 1) pixels of a row, the first of
// all ODD pixels before those that are needed.
struct Shape {
    height: u32,
    width: u32,
    channel_vectors: u32,
    out_height: u32,
    out_width: u32,
    // Of V: in a row of the output's gradient, and in a row of the partial sums.
    out_vectors: u32,
    packed_vectors: u32,
    kernel_height: u32,
    pad_y: i32,
    pad_x: i32,
    kernel_tiles: u32,
    vector_tiles: u32,
    channel_tiles: u32,
    rows: u32,
    rows_per_part: u32,
    columns_per_part: u32,
    // Number of the first part of this dispatch.
    first_part: u32,
    tiles: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> output_grad: array<V>;
@group(0) @binding(3) var<storage, read_write> partials: array<V>;
#for q in 0..POOLED
@group(0) @binding(4) var<storage, read> places: array<P>;
#end

// A function for each row of each channel, because naga's time to parse one grows with the square of its length.
#for c in 0..CHANNELS
#for r in 0..ROWS
#for k in 0..KERNEL_ROWS
fn add_$c$r$k(
    x: ptr<function, array<vec4f, X_ROWS * LOADS * VECTORS>>,
    d: ptr<function, array<V, ROWS * PIXELS>>,
    acc: ptr<function, array<V, KERNEL_ROWS * KERNEL_WIDTH * VECTORS * CHANNELS>>,
) {
    #for v in 0..VECTORS
    // Neighbouring pixels share what is broadcast, so they stand next to each other.
    #for p in 0..PIXELS
    #for kx in 0..KERNEL_WIDTH
    #if BEFORE <= $p * STRIDE + $kx < BEHIND
    (*acc)[(($k * KERNEL_WIDTH + $kx) * VECTORS + $v) * CHANNELS + $c] = fma(
        V(subgroupBroadcast(
            (*x)[(($r * STRIDE_Y + $k) * LOADS + ($p * STRIDE + $kx + ODD - BEFORE) / SPAN) * VECTORS + $v]
                [($c + ($p * STRIDE + $kx + ODD - BEFORE) * PLANAR) % 4u],
            ($p * STRIDE + $kx + ODD - BEFORE) % SPAN / LANE)),
        (*d)[$r * PIXELS + $p], (*acc)[(($k * KERNEL_WIDTH + $kx) * VECTORS + $v) * CHANNELS + $c]);
    #end
    #end
    #end
    #end
}
#end
#end
#end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    // A copy in front of all that only some lanes do: there llvmpipe reads a number once, elsewhere once for each lane.
    let shape = shape;
    let lane = id.x;
    let tile = group.y * shape.grid_width + group.x;
    // Workgroups behind the last tile, where the grid is folded: all that follows such a return is masked.
    #for e in 0..EXCESS
    if tile >= shape.tiles {
        return;
    }
    #end
    let channel = tile % shape.channel_tiles * LANES + lane;
    let channel_inside = channel < shape.out_vectors;
    let safe_channel = min(channel, shape.out_vectors - 1u);
    let quad = tile / shape.channel_tiles % shape.vector_tiles * VECTORS;
    let kernel_part = tile / (shape.channel_tiles * shape.vector_tiles);
    let ky = kernel_part % shape.kernel_tiles * KERNEL_ROWS;
    let part = kernel_part / shape.kernel_tiles;

    var acc: array<V, KERNEL_ROWS * KERNEL_WIDTH * VECTORS * CHANNELS>;
    var bias = V();

    let run = shape.first_part + part;
    let first_column = run % COLUMN_PARTS * shape.columns_per_part;
    let end_column = min(first_column + shape.columns_per_part, shape.out_width);
    var row = run / COLUMN_PARTS * shape.rows_per_part;
    let rows = min(shape.rows_per_part, shape.rows - row);
    var column = first_column;
    var image = row / shape.out_height;
    var y = row % shape.out_height;
    // The first of the rows in a window.
    var in_window = 0u;
    // One loop and not several: a CPU adapter copies all that lives through the end of an iteration.
    let trips = rows * ((end_column - first_column + WINDOWS - 1u) / WINDOWS) * (SCALE / ROWS);
    for (var trip = 0u; trip < trips; trip++) {
        #for q in 0..POOLED
        let blocks = (shape.out_width + BLOCK - 1u) / BLOCK;
        var words: array<P, WORDS>;
        #for w in 0..WORDS
        words[$w] = places[(row * blocks + min(column / BLOCK + $w, blocks - 1u)) * shape.out_vectors + safe_channel];
        #end
        #end
        var d: array<V, ROWS * PIXELS>;
        #for w in 0..WINDOWS
        {
            let inside = channel_inside && column + $w < end_column;
            let at = (row * shape.out_width + min(column + $w, shape.out_width - 1u)) * shape.out_vectors;
            let given = select(V(), output_grad[at + safe_channel], inside);
            #for q in 0..DIRECT
            d[$w] = given;
            bias += given;
            #end
            #for q in 0..POOLED
            let place = (words[$w / BLOCK] >> P($w % BLOCK * 4u)) & P(15u);
            #for r in 0..ROWS
            #for i in 0..2
            d[$r * PIXELS + $w * 2u + $i] = select(V(), given, place == P((in_window + $r) * 2u + $i));
            bias += d[$r * PIXELS + $w * 2u + $i];
            #end
            #end
            #end
        }
        #end
        let in_width = (shape.width + LANE - 1u) / LANE;
        var x: array<vec4f, X_ROWS * LOADS * VECTORS>;
        #for k in 0..X_ROWS
        {
            let in_y = i32((y * SCALE + in_window) * STRIDE_Y + ky + $k) - shape.pad_y;
            let row_inside = in_y >= 0 && in_y < i32(shape.height);
            let row_at = (image * shape.height + u32(clamp(in_y, 0, i32(shape.height) - 1))) * in_width;
            #for i in 0..LOADS
            {
                let in_x = i32(column * SCALE * STRIDE / LANE + lane + $i * LANES)
                    - (shape.pad_x + i32(ODD) - i32(BEFORE)) / i32(LANE);
                let inside = row_inside && in_x >= 0 && in_x < i32(in_width);
                let at = (row_at + u32(clamp(in_x, 0, i32(in_width) - 1))) * shape.channel_vectors + quad;
                #for v in 0..VECTORS
                x[($k * LOADS + $i) * VECTORS + $v] = select(vec4f(), input[at + $v], inside);
                #end
            }
            #end
        }
        #end
        #for c in 0..CHANNELS
        #for r in 0..ROWS
        #for k in 0..KERNEL_ROWS
        add_$c$r$k(&x, &d, &acc);
        #end
        #end
        #end
        in_window += ROWS;
        let next_column = in_window >= SCALE;
        in_window = select(in_window, 0u, next_column);
        column += select(0u, WINDOWS, next_column);
        let next_row = column >= end_column;
        column = select(column, first_column, next_row);
        row += u32(next_row);
        y += u32(next_row);
        let next_image = y == shape.out_height;
        y = select(y, 0u, next_image);
        image += u32(next_image);
    }

    let taps = shape.kernel_height * KERNEL_WIDTH * shape.channel_vectors * 4u;
    let base = part * (taps + 1u) * shape.packed_vectors + channel;
    // STORED of the SUMS at a time, with the others moved up: a store is much to compile. All taps are there, which compilers
    // do not know, so that they leave it a loop.
    let taps_here = min(KERNEL_ROWS, shape.kernel_height - ky) * KERNEL_WIDTH;
    for (var tap = 0u; tap < taps_here; tap++) {
        #for v in 0..VECTORS
        #for c in 0..CHANNELS
        partials[base + (((ky * KERNEL_WIDTH + tap) * shape.channel_vectors + quad + $v) * 4u + $c) * shape.packed_vectors] =
            acc[$v * CHANNELS + $c];
        #end
        #end
        #for i in STORED..SUMS
        acc[$i - STORED] = acc[$i];
        #end
    }
    if ky == 0u && quad == 0u {
        partials[base + taps * shape.packed_vectors] = bias;
    }
}
