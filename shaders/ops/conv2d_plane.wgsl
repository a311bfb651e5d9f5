// Convolution of a single channel whose rows lie in quads, for CPU adapters: the LANES of a subgroup hold output
// channels, and each quad of the input is loaded by one lane and broadcast to all.
//
// All taps are unrolled, so that no sum waits in memory for the next row of the kernel, and the weight is loaded once for
// several tiles below each other. What follows the sums is in conv2d_store.wgsl and conv2d_pool.wgsl, one of which is
// appended. Constants: ROWS x PIXELS sums in registers, KERNEL_ROWS x KERNEL_WIDTH, STRIDE_Y and STRIDE, X_ROWS of the
// input and LOADS of SPAN pixels each that the tile touches, the first of them ODD pixels before what it needs; BEFORE,
// BEHIND and EXCESS as in conv2d.wgsl. Alias V: the output channels of a lane.
struct Shape {
    height: u32,
    // In quads.
    width: u32,
    out_height: u32,
    out_width: u32,
    // Of V: in a row of the output, and in a row of the packed weight.
    out_vectors: u32,
    packed_vectors: u32,
    pad_y: i32,
    pad_x: i32,
    // Tiles of rows: of an image, and of a workgroup.
    row_tiles: u32,
    tiles_each: u32,
    strips: u32,
    column_tiles: u32,
    channel_tiles: u32,
    tiles: u32,
    grid_width: u32,
    relu: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<V>;
@group(0) @binding(3) var<storage, read_write> output: array<V>;

// A function for each pixel of the tile, because naga's time to parse one grows with the square of its length.
#for p in 0..PIXELS
fn add_pixel_$p(
    x: ptr<function, array<vec4f, X_ROWS * LOADS>>,
    w: ptr<function, array<V, KERNEL_ROWS * KERNEL_WIDTH>>,
    acc: ptr<function, array<V, ROWS * PIXELS>>,
) {
    #for r in 0..ROWS
    #for ky in 0..KERNEL_ROWS
    #for kx in 0..KERNEL_WIDTH
    #if BEFORE <= $p * STRIDE + $kx < BEHIND
    (*acc)[$r * PIXELS + $p] = fma(
        V(subgroupBroadcast(
            (*x)[($r * STRIDE_Y + $ky) * LOADS + ($p * STRIDE + $kx + ODD - BEFORE) / SPAN][($p * STRIDE + $kx + ODD - BEFORE) % 4u],
            ($p * STRIDE + $kx + ODD - BEFORE) % SPAN / 4u)),
        (*w)[$ky * KERNEL_WIDTH + $kx], (*acc)[$r * PIXELS + $p]);
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
    let strip = tile / (shape.channel_tiles * shape.column_tiles);
    let image = strip / shape.strips;
    let first = strip % shape.strips * shape.tiles_each;

    var w: array<V, KERNEL_ROWS * KERNEL_WIDTH>;
    #for k in 0..KERNEL_ROWS
    #for kx in 0..KERNEL_WIDTH
    // A tap has a quad of input channels, of which one is in use.
    w[$k * KERNEL_WIDTH + $kx] = weight[($k * KERNEL_WIDTH + $kx) * 4u * shape.packed_vectors + channel];
    #end
    #end
    let bias = weight[KERNEL_ROWS * KERNEL_WIDTH * 4u * shape.packed_vectors + channel];
    var x_at: array<u32, LOADS>;
    var x_inside: array<bool, LOADS>;
    #for i in 0..LOADS
    {
        let x = i32(column * STRIDE / 4u + lane + $i * LANES) - (shape.pad_x + i32(ODD) - i32(BEFORE)) / 4;
        x_inside[$i] = x >= 0 && x < i32(shape.width);
        x_at[$i] = u32(clamp(x, 0, i32(shape.width) - 1));
    }
    #end

    for (var row_tile = first; row_tile < min(first + shape.tiles_each, shape.row_tiles); row_tile++) {
        let row = row_tile * ROWS;
        var x: array<vec4f, X_ROWS * LOADS>;
        #for r in 0..X_ROWS
        {
            let y = i32(row * STRIDE_Y + $r) - shape.pad_y;
            let inside = y >= 0 && y < i32(shape.height);
            let at = (image * shape.height + u32(clamp(y, 0, i32(shape.height) - 1))) * shape.width;
            #for i in 0..LOADS
            x[$r * LOADS + $i] = select(vec4f(), input[at + x_at[$i]], inside && x_inside[$i]);
            #end
        }
        #end
        var acc: array<V, ROWS * PIXELS>;
        #for r in 0..ROWS
        #for p in 0..PIXELS
        acc[$r * PIXELS + $p] = bias;
        #end
        #end
        #for p in 0..PIXELS
        add_pixel_$p(&x, &w, &acc);
        #end
        if channel < shape.out_vectors {
            let out_row = image * shape.out_height + row / STEP;
            write_tile(&acc, out_row, out_row + ROWS / STEP - 1u, column / STEP, channel);
        }
    }
}
