// Convolution of NHWC activations for CPU adapters: the eight lanes of a subgroup hold output channels, and
// each input value is loaded by one lane and broadcast to all.
//
// What follows the sum is in conv2d_store.wgsl and conv2d_pool.wgsl, one of which is appended. Constants: ROWS x
// PIXELS sums of an image in registers, KERNEL_WIDTH, STRIDE along a row, LOADS = pixels of an input row that the
// tile touches, in eights, CHANNELS in use of a pair of input channels, SPLIT of a long sum into parts. Alias V: the
// output channels of a lane.
//
// With POOLED, the input is the gradient of an image of which 2x2 windows were pooled: it is given for each window, with
// the places of the maxima as conv2d_pool.wgsl leaves them, BLOCK windows to a word. A lane then loads a window, which
// is SCALE (2, else 1) pixels of a row, so that a load brings SPAN pixels, the first of them ODD pixels before the tile's.
// Zeros behind the image may be read as the zeros before it.
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
    row_tiles: u32,
    column_tiles: u32,
    channel_tiles: u32,
    // Tiles of channels of a group.
    group_tiles: u32,
    tiles: u32,
    grid_width: u32,
    relu: u32,
    // With SPLIT: rows of the kernel and pairs of input channels that a part sums, parts of the pairs, the first part of
    // this dispatch, and the images of a part.
    rows_per_part: u32,
    pairs_per_part: u32,
    pair_parts: u32,
    first_part: u32,
    images: u32,
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
    #for c in 0..CHANNELS
    (*acc)[$r * PIXELS + $p] = fma(
        V(subgroupBroadcast(
            (*x)[$r * LOADS + ($p * STRIDE + $kx + ODD) / SPAN % LOADED * SCALE + ($p * STRIDE + $kx + ODD) % SCALE][$c],
            ($p * STRIDE + $kx + ODD) % SPAN / SCALE)),
        (*w)[$kx * CHANNELS + $c], (*acc)[$r * PIXELS + $p]);
    #end
    #end
    #end
}
#end

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let lane = id.x;
    let tile = group.y * shape.grid_width + group.x;
    if tile >= shape.tiles {
        return;
    }
    let channel = tile % shape.channel_tiles * 8u + lane;
    let column = tile / shape.channel_tiles % shape.column_tiles * PIXELS;
    let strip = tile / (shape.channel_tiles * shape.column_tiles);
    let row = strip % shape.row_tiles * ROWS;
    let image = strip / shape.row_tiles;

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
    let in_height = shape.height / SCALE;
    var x_at: array<u32, LOADS / SCALE>;
    var x_inside: array<bool, LOADS / SCALE>;
    #for q in 0..POOLED
    let blocks = (in_width + BLOCK - 1u) / BLOCK;
    var word_at: array<u32, LOADS / SCALE>;
    var word_shift: array<vec2u, LOADS / SCALE>;
    #end
    #for i in 0..LOADED
    {
        let x = i32(column * STRIDE / SCALE + lane + $i * 8u) - (shape.pad_x + i32(ODD)) / i32(SCALE);
        x_inside[$i] = x >= 0 && x < i32(in_width);
        let safe_x = u32(clamp(x, 0, i32(in_width) - 1));
        x_at[$i] = safe_x * shape.channel_pairs + group_at;
        #for q in 0..POOLED
        word_at[$i] = safe_x / BLOCK * shape.channel_pairs + group_at;
        word_shift[$i] = vec2u(safe_x % BLOCK * 4u);
        #end
    }
    #end

    for (var ky = first.x; ky < end.x; ky++) {
        var row_at: array<u32, ROWS>;
        var row_inside: array<bool, ROWS>;
        #for q in 0..POOLED
        var word_row_at: array<u32, ROWS>;
        // The place in a window of the left one of its pixels in this row.
        var left: array<u32, ROWS>;
        #end
        #for r in 0..ROWS
        {
            let y = i32((row + $r) * shape.stride_y + ky) - shape.pad_y;
            row_inside[$r] = y >= 0 && y < i32(shape.height);
            let safe_y = u32(clamp(y, 0, i32(shape.height) - 1));
            let in_row = image * in_height + safe_y / SCALE;
            row_at[$r] = in_row * in_width * shape.channel_pairs;
            #for q in 0..POOLED
            word_row_at[$r] = in_row * blocks * shape.channel_pairs;
            left[$r] = safe_y % 2u * 2u;
            #end
        }
        #end
        for (var pair = first.y; pair < end.y; pair++) {
            var x: array<vec2f, ROWS * LOADS>;
            #for r in 0..ROWS
            #for i in 0..LOADED
            {
                let value = select(vec2f(), input[row_at[$r] + x_at[$i] + pair], row_inside[$r] && x_inside[$i]);
                #for q in 0..DIRECT
                x[$r * LOADS + $i] = value;
                #end
                #for q in 0..POOLED
                let place = (input_places[word_row_at[$r] + word_at[$i] + pair] >> word_shift[$i]) & vec2u(15u);
                x[$r * LOADS + $i * 2u] = select(vec2f(), value, place == vec2u(left[$r]));
                x[$r * LOADS + $i * 2u + 1u] = select(vec2f(), value, place == vec2u(left[$r] + 1u));
                #end
            }
            #end
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
        }
    }

    if channel < shape.out_vectors {
        // The parts of a sum lie like more images.
        write_tile(&acc, image + select(0u, group.z * shape.images, SPLIT == 1u), row, column, channel);
    }
}
