// Convolution of NHWC activations for CPU adapters: the LANES of a subgroup hold output channels, and
// each input value is loaded by one lane and broadcast to all.
//
// What follows the sum is in conv2d_store.wgsl and conv2d_pool.wgsl, one of which is appended. Constants: ROWS x
// PIXELS sums in registers, KERNEL_WIDTH, STRIDE along a row, LOADS = pixels of an input row that the
// tile touches, in LANES, CHANNELS in use of a pair of input channels, SPLIT of a long sum into parts, EXCESS of a folded grid. Where a row is one
// tile, what it touches before BEFORE and from BEHIND on is padding and left out, else there is no such bound. Alias V: the
// output channels of a lane.
//
// The rows of all images are one run, so that tiles fill whatever the height of an image is.
//
// With POOLED, the input is the gradient of an image of which 2x2 windows were pooled: it is given for each window, with
// the places of the maxima as conv2d_pool.wgsl leaves them, BLOCK windows to a word. A lane then loads a window, which
// is SCALE (2, else 1) pixels of a row, so that a load brings SPAN pixels, the first of them ODD pixels before the tile's.
// DIRECT is its opposite, and both choose text.
struct Shape {
    height: u32,
    width: u32,
    // Pairs of input channels: in a pixel, in a row of the packed weight, and in use, in each group.
    channel_pairs: u32,
    packed_pairs: u32,
    used_pairs: u32,
    out_height: u32,
    out_width: u32,
    // Of V: in a row of the output, and in a row of the packed weight.
    out_vectors: u32,
    packed_vectors: u32,
    kernel_height: u32,
    stride_y: u32,
    pad_y: i32,
    pad_x: i32,
    column_tiles: u32,
    channel_tiles: u32,
    // Tiles of channels of a group.
    group_tiles: u32,
    tiles: u32,
    grid_width: u32,
    relu: u32,
    // Of the output of all images.
    rows: u32,
    // With SPLIT: rows of the kernel and pairs of input channels that a part sums, parts of the pairs, and the first part of
    // this dispatch.
    rows_per_part: u32,
    pairs_per_part: u32,
    pair_parts: u32,
    first_part: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> input: array<vec2f>;
@group(0) @binding(2) var<storage, read> weight: array<V>;
@group(0) @binding(3) var<storage, read_write> output: array<V>;
#for q in 0..POOLED
@group(0) @binding(4) var<storage, read> input_places: array<vec2u>;
#end

// A function for each pixel of the tile, because naga's time to parse one grows with the square of its length.
#for p in 0..PIXELS
fn add_pixel_$p(
    x: ptr<function, array<vec2f, ROWS * LOADS>>,
    w: ptr<function, array<V, KERNEL_WIDTH * CHANNELS>>,
    acc: ptr<function, array<V, ROWS * PIXELS>>,
) {
    #for r in 0..ROWS
    #for kx in 0..KERNEL_WIDTH
    #if BEFORE <= $p * STRIDE + $kx < BEHIND
    #for c in 0..CHANNELS
    (*acc)[$r * PIXELS + $p] = fma(
        V(subgroupBroadcast(
            (*x)[$r * LOADS + ($p * STRIDE + $kx + ODD - BEFORE) / SPAN * SCALE + ($p * STRIDE + $kx + ODD - BEFORE) % SCALE][$c],
            ($p * STRIDE + $kx + ODD - BEFORE) % SPAN / SCALE)),
        (*w)[$kx * CHANNELS + $c], (*acc)[$r * PIXELS + $p]);
    #end
    #end
    #end
    #end
}
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
    let column = tile / shape.channel_tiles % shape.column_tiles * PIXELS;
    // The first row of what is written, and for each row of the tile its image and what it reads for the first tap.
    let first_row = tile / (shape.channel_tiles * shape.column_tiles) * (ROWS / STEP);
    var in_image: array<u32, ROWS>;
    var in_y: array<i32, ROWS>;
    {
        var image = first_row / shape.out_height;
        var row = first_row % shape.out_height;
        #for r in 0..ROWS
        in_image[$r] = image * (shape.height / SCALE);
        in_y[$r] = i32((row * STEP + $r % STEP) * shape.stride_y) - shape.pad_y;
        if $r % STEP == STEP - 1u {
            let next = row + 1u == shape.out_height;
            // Rows behind the last one are not stored, but read.
            let is_last = first_row + $r / STEP + 1u >= shape.rows;
            row = select(select(row + 1u, 0u, next), row, is_last);
            image += u32(next && !is_last);
        }
        #end
    }

    var acc: array<V, ROWS * PIXELS>;
    var bias = weight[shape.kernel_height * KERNEL_WIDTH * shape.packed_pairs * 2u * shape.packed_vectors + channel];
    // A single channel is known to be one pair, so there is no loop.
    let pairs = select(shape.used_pairs, 1u, CHANNELS == 1u);
    var first = vec2u();
    var end = vec2u(shape.kernel_height, pairs);
    if SPLIT == 1u {
        let part = shape.first_part + group.z;
        first = vec2u(part / shape.pair_parts * shape.rows_per_part, part % shape.pair_parts * shape.pairs_per_part);
        end = min(first + vec2u(shape.rows_per_part, shape.pairs_per_part), end);
        bias = select(V(), bias, part == 0u);
    }
    #for r in 0..ROWS
    #for p in 0..PIXELS
    acc[$r * PIXELS + $p] = bias;
    #end
    #end

    let group_at = tile % shape.channel_tiles / shape.group_tiles * shape.used_pairs;
    // Pixels, or windows.
    let in_width = shape.width / SCALE;
    var x_at: array<u32, LOADS / SCALE>;
    var x_inside: array<bool, LOADS / SCALE>;
    #for q in 0..POOLED
    let blocks = (in_width + BLOCK - 1u) / BLOCK;
    var word_at: array<u32, LOADS / SCALE>;
    var word_shift: array<vec2u, LOADS / SCALE>;
    #end
    #for i in 0..LOADED
    {
        let x = i32(column * STRIDE / SCALE + lane + $i * LANES)
            - (shape.pad_x + i32(ODD) - i32(BEFORE)) / i32(SCALE);
        x_inside[$i] = x >= 0 && x < i32(in_width);
        let safe_x = u32(clamp(x, 0, i32(in_width) - 1));
        x_at[$i] = safe_x * shape.channel_pairs + group_at;
        #for q in 0..POOLED
        word_at[$i] = safe_x / BLOCK * shape.channel_pairs + group_at;
        word_shift[$i] = vec2u(safe_x % BLOCK * 4u);
        #end
    }
    #end

    var ky = first.x;
    var pair = first.y;
    // One loop and not two: a CPU adapter copies all that lives through the end of an iteration.
    let trips = (end.x - first.x) * (end.y - first.y);
    for (var trip = 0u; trip < trips; trip++) {
        var x: array<vec2f, ROWS * LOADS>;
        #for r in 0..ROWS
        {
            let y = in_y[$r] + i32(ky);
            let row_inside = y >= 0 && y < i32(shape.height);
            let safe_y = u32(clamp(y, 0, i32(shape.height) - 1));
            let in_row = in_image[$r] + safe_y / SCALE;
            let row_at = in_row * in_width * shape.channel_pairs + pair;
            #for i in 0..LOADED
            {
                let value = select(vec2f(), input[row_at + x_at[$i]], row_inside && x_inside[$i]);
                #for q in 0..DIRECT
                x[$r * LOADS + $i] = value;
                #end
                #for q in 0..POOLED
                // The place in a window of the left one of its pixels in this row.
                let left = safe_y % 2u * 2u;
                let word_row_at = in_row * blocks * shape.channel_pairs + pair;
                let place = (input_places[word_row_at + word_at[$i]] >> word_shift[$i]) & vec2u(15u);
                x[$r * LOADS + $i * 2u] = select(vec2f(), value, place == vec2u(left));
                x[$r * LOADS + $i * 2u + 1u] = select(vec2f(), value, place == vec2u(left + 1u));
                #end
            }
            #end
        }
        #end
        var w: array<V, KERNEL_WIDTH * CHANNELS>;
        #for kx in 0..KERNEL_WIDTH
        #for c in 0..CHANNELS
        w[$kx * CHANNELS + $c] = weight[
            (((ky * KERNEL_WIDTH + $kx) * shape.packed_pairs + pair) * 2u + $c) * shape.packed_vectors + channel];
        #end
        #end
        #for p in 0..PIXELS
        add_pixel_$p(&x, &w, &acc);
        #end
        pair += 1u;
        let next = pair == end.y;
        pair = select(pair, first.y, next);
        ky += u32(next);
    }

    if channel < shape.out_vectors {
        // The parts of a sum lie like more rows.
        let before = select(0u, group.z * shape.rows, SPLIT == 1u);
        write_tile(&acc, before + first_row, before + shape.rows - 1u, column / STEP, channel);
    }
}
