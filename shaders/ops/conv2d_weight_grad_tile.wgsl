// Partial sums of the weight gradient of a convolution on GPUs, as products described by
// `shared/conv2d_weight_grad.wgsl` and summed by `shared/tile.wgsl`.
fn left_quad(place: LeftPlace, step: u32) -> vec4f {
    let row = step / shape.out_width;
    let y = row % shape.out_height * shape.stride_y + place.y;
    let x = step % shape.out_width * shape.stride_x + place.x;
    // Sums that wrap below zero are outside too.
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

// Number of partial sums for the bias, for every tile size.
const BIAS_CHAINS: u32 = 8u;

// One partial sum for four output channels.
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

// The gradient of the bias: the sum of the gradients of all pixels. As a row of the product it could need a separate
// tile. Each lane has BIAS_TURNS partial sums.
fn put_bias(work: Work, lane: u32, first_column: u32, first: u32, end: u32) {
    let quads = TILE_COLUMNS / 4u;
    #for t in 0..BIAS_TURNS
    let place$t = lane + $t * LANES;
    let sum$t = bias_chain(work, first_column + place$t % quads, place$t / quads, first, end);
    #end
    // All lanes have finished reading the last steps of the product.
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
