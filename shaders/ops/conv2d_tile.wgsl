// Convolution of NHWC activations on GPUs, as a product described by `shared/conv2d_work.wgsl` and summed by
// `shared/tile.wgsl`. The sums are passed to `finish`, which is appended.

// Four positions: what each reads for the first tap, and the vec4 of the group's first channels there.
struct LeftPlace {
    y: vec4u,
    x: vec4u,
    at: vec4u,
    row_taps: u32,
    steps: u32,
}

// Outside of every image, whatever is added to it.
const OUTSIDE: u32 = 0x80000000u;

fn left_place(work: Work, quad: u32) -> LeftPlace {
    var place: LeftPlace;
    var x = quad * 4u % work.size.x;
    var y = quad * 4u / work.size.x % work.size.y;
    var image = quad * 4u / work.size.x / work.size.y;
    #for r in 0..4
    place.y[$r] = select(OUTSIDE, y * shape.stride_y + work.source.y, image < shape.images);
    place.x[$r] = x * shape.stride_x + work.source.x;
    place.at[$r] = ((image * shape.height + place.y[$r]) * shape.width + place.x[$r]) * shape.channel_vectors
        + work.group * shape.group_vectors;
    x += 1u;
    if x == work.size.x {
        x = 0u;
        y += 1u;
    }
    if y == work.size.y {
        y = 0u;
        image += 1u;
    }
    #end
    place.row_taps = work.row_taps;
    place.steps = work.steps;
    return place;
}

fn loaded(at: u32, is_inside: bool) -> vec4f {
    if is_inside {
        return input[at];
    }
    return vec4f();
}

fn left_block(place: LeftPlace, step: u32) -> mat4x4f {
    let tap = step / 4u / shape.group_vectors;
    let shift_y = tap / place.row_taps * shape.step_y;
    let shift_x = tap % place.row_taps * shape.step_x;
    // Sums that wrap below zero are outside too.
    let inside_rows = (place.y + shift_y < vec4u(shape.height)) & vec4<bool>(step < place.steps);
    let inside = inside_rows & (place.x + shift_x < vec4u(shape.width));
    let at = place.at + (shift_y * shape.width + shift_x) * shape.channel_vectors + step / 4u % shape.group_vectors;
    return mat4x4f(
        loaded(at.x, inside.x), loaded(at.y, inside.y), loaded(at.z, inside.z), loaded(at.w, inside.w));
}

struct RightPlace {
    at: u32,
    steps: u32,
}

fn right_place(work: Work, quad: u32) -> RightPlace {
    // Columns past the end repeat the last one; their sums are not stored.
    let column = work.group * shape.group_out_vectors + min(quad, shape.group_out_vectors - 1u);
    return RightPlace(work.weight_row * shape.out_vectors + column, work.steps);
}

fn right_quad(place: RightPlace, step: u32) -> vec4f {
    if step < place.steps {
        return weight[place.at + step * shape.out_vectors];
    }
    return vec4f();
}

fn bias_of(work: Work, quad: u32) -> vec4f {
    if work.part > 0u {
        return vec4f();
    }
    let row = shape.kernel_height * shape.kernel_width * shape.group_vectors * 4u;
    return weight[row * shape.out_vectors + work.group * shape.group_out_vectors + min(quad, shape.group_out_vectors - 1u)];
}

fn put(work: Work, row: u32, quad: u32, sum: vec4f, bias: vec4f) {
    if row >= shape.images * work.size.x * work.size.y || quad >= shape.group_out_vectors {
        return;
    }
    var pixel = row;
    if PHASED == 1u {
        let y = row / work.size.x % work.size.y * shape.phases_y + work.phase.y;
        let x = row % work.size.x * shape.phases_x + work.phase.x;
        pixel = (row / work.size.x / work.size.y * shape.out_height + y) * shape.out_width + x;
    }
    let at = pixel * shape.out_vectors + work.group * shape.group_out_vectors + quad;
    var value = sum + bias;
    if shape.accumulate == 1u {
        value += output[at];
    }
    output[(work.part - shape.first_part) * shape.part_len + at] = finish(at, value);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    let tile = group.y * shape.grid_width + group.x;
    if tile >= shape.tiles {
        return;
    }
    let column = tile % shape.column_tiles * (TILE_COLUMNS / 4u);
    let row = tile / shape.column_tiles % shape.row_tiles * (TILE_ROWS / 4u);
    let work = work_of(tile / shape.column_tiles / shape.row_tiles, shape.first_part + group.z);
    if work.size.x * work.size.y == 0u {
        return;
    }
    let first = min(work.part * shape.run, work.steps);
    sum_tile(work, lane, row, column, first, min(first + shape.run, work.steps));
}
