// Partial sums of a convolution's weight gradient for GPUs, as products that `shared/tile.wgsl` sums: rows are the input
// channels of one group for each tap, columns its output channels, steps pixels of the output in all images. A part is a run
// of pixels.
struct Shape {
    height: u32,
    width: u32,
    channel_vectors: u32,
    // Vec4s of channels of a group, read and written.
    group_vectors: u32,
    group_out_vectors: u32,
    out_height: u32,
    out_width: u32,
    out_vectors: u32,
    kernel_height: u32,
    kernel_width: u32,
    stride_y: u32,
    stride_x: u32,
    pad_y: u32,
    pad_x: u32,
    dilation_y: u32,
    dilation_x: u32,
    // Of the output in all images.
    pixels: u32,
    // Pixels of a part, and the first part of this dispatch.
    run: u32,
    first_part: u32,
    column_tiles: u32,
    row_tiles: u32,
    groups: u32,
    tiles: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> output_grad: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> partials: array<vec4f>;

struct Work {
    group: u32,
    // Where this part begins.
    at: u32,
}

// Vec4s of the rows of one group.
fn row_vectors() -> u32 {
    return shape.kernel_height * shape.kernel_width * shape.group_vectors;
}

// Four channels of a tap: how far the tap is from the first pixel of a window, padding taken off, and the vec4 of channels.
struct LeftPlace {
    y: u32,
    x: u32,
    channel: u32,
}

fn left_place(work: Work, quad: u32) -> LeftPlace {
    // Rows behind the last one are the last one, whose sums are not stored.
    let row = min(quad, row_vectors() - 1u);
    let tap = row / shape.group_vectors;
    return LeftPlace(
        tap / shape.kernel_width * shape.dilation_y - shape.pad_y,
        tap % shape.kernel_width * shape.dilation_x - shape.pad_x,
        work.group * shape.group_vectors + row % shape.group_vectors);
}

fn left_quad(place: LeftPlace, step: u32) -> vec4f {
    let row = step / shape.out_width;
    let y = row % shape.out_height * shape.stride_y + place.y;
    let x = step % shape.out_width * shape.stride_x + place.x;
    // Sums that wrap below zero lie outside too.
    if y < shape.height && x < shape.width {
        let pixel = (row / shape.out_height * shape.height + y) * shape.width + x;
        return input[pixel * shape.channel_vectors + place.channel];
    }
    return vec4f();
}

alias RightPlace = u32;

fn right_place(work: Work, quad: u32) -> RightPlace {
    return work.group * shape.group_out_vectors + min(quad, shape.group_out_vectors - 1u);
}

fn right_quad(place: RightPlace, step: u32) -> vec4f {
    return output_grad[step * shape.out_vectors + place];
}

fn bias_of(work: Work, quad: u32) -> vec4f {
    return vec4f();
}

fn put(work: Work, row: u32, quad: u32, sum: vec4f, bias: vec4f) {
    if row < row_vectors() * 4u && quad < shape.group_out_vectors {
        partials[work.at + row * shape.out_vectors + work.group * shape.group_out_vectors + quad] = sum;
    }
}

// Chains of the sum for the bias, whatever the tile.
const BIAS_CHAINS: u32 = 8u;

// One chain of the sum of four output channels.
fn bias_chain(work: Work, quad: u32, chain: u32, first: u32, end: u32) -> vec4f {
    var sum = vec4f();
    if chain < BIAS_CHAINS && quad < shape.group_out_vectors {
        let column = work.group * shape.group_out_vectors + quad;
        for (var step = first + chain; step < end; step += BIAS_CHAINS) {
            sum += output_grad[step * shape.out_vectors + column];
        }
    }
    return sum;
}

// The gradient of the bias: the sum of the gradients of all pixels. As a row of the product it could be a tile of its own.
// A lane has BIAS_TURNS chains.
fn put_bias(work: Work, lane: u32, first_column: u32, first: u32, end: u32) {
    let quads = TILE_COLUMNS / 4u;
    #for t in 0..BIAS_TURNS
    let place$t = lane + $t * LANES;
    let sum$t = bias_chain(work, first_column + place$t % quads, place$t / quads, first, end);
    #end
    // Nobody reads the last steps of the product any more.
    workgroupBarrier();
    #for t in 0..BIAS_TURNS
    if place$t < BIAS_CHAINS * quads {
        right_tile[place$t] = sum$t;
    }
    #end
    workgroupBarrier();
    let quad = first_column + lane;
    if lane < quads && quad < shape.group_out_vectors {
        var sum = right_tile[lane];
        #for c in 1..8
        sum += right_tile[lane + $c * quads];
        #end
        let column = work.group * shape.group_out_vectors + quad;
        partials[work.at + row_vectors() * 4u * shape.out_vectors + column] = sum;
    }
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let tile = group.y * shape.grid_width + group.x;
    if tile >= shape.tiles {
        return;
    }
    let column = tile % shape.column_tiles * (TILE_COLUMNS / 4u);
    let row = tile / shape.column_tiles % shape.row_tiles * (TILE_ROWS / 4u);
    let batch = tile / shape.column_tiles / shape.row_tiles;
    let part = batch / shape.groups;
    let work = Work(batch % shape.groups, part * (row_vectors() * 4u + 1u) * shape.out_vectors);
    let first = (shape.first_part + part) * shape.run;
    let end = min(first + shape.run, shape.pixels);
    sum_tile(work, lane, row, column, first, end);
    if row == 0u {
        put_bias(work, lane, column, first, end);
    }
}
