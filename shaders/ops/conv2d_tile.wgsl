// Convolution of NHWC activations for GPUs as a product that `shared/tile.wgsl` sums: rows are positions in all images,
// columns output channels of one group, steps its input channels for each tap. What becomes of the sums is in `finish`,
// which is appended.
//
// With PHASED it is the input gradient: a product for each phase of the stride, because all positions of a phase are made by
// the same taps, which the packed weight has side by side (`shared/phases.wgsl`).
struct Shape {
    // The image that is read: pixels, and vec4s of channels in a pixel and in a group.
    height: u32,
    width: u32,
    channel_vectors: u32,
    group_vectors: u32,
    // The image that is written.
    images: u32,
    out_height: u32,
    out_width: u32,
    out_vectors: u32,
    group_out_vectors: u32,
    kernel_height: u32,
    kernel_width: u32,
    // Pixels from a position to the next, and from a tap of a phase to the next, which lies before it with PHASED.
    stride_y: u32,
    stride_x: u32,
    step_y: u32,
    step_x: u32,
    pad_y: u32,
    pad_x: u32,
    // With PHASED: the phases; their common divisor with the dilation, and the quotient of both, which is the number of
    // classes of taps; and the inverse of the dilation's quotient among these.
    phases_y: u32,
    phases_x: u32,
    common_y: u32,
    common_x: u32,
    classes_y: u32,
    classes_x: u32,
    inverse_y: u32,
    inverse_x: u32,
    column_tiles: u32,
    row_tiles: u32,
    groups: u32,
    tiles: u32,
    grid_width: u32,
    // Steps of a part of a sum, the first part of this dispatch, and vec4s of a part of the output. Parts are workgroups
    // along z.
    run: u32,
    first_part: u32,
    part_len: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

// A phase along an axis: its class of taps, how many these are, what the first position reads for the first of them, and
// how many positions there are.
struct Axis {
    class_number: u32,
    taps: u32,
    source: u32,
    len: u32,
}

// What an axis has of taps, of pixels, and of phases.
struct Along {
    pad: u32,
    kernel: u32,
    out: u32,
    step: u32,
    phases: u32,
    divisor: u32,
    classes: u32,
    inverse: u32,
}

fn axis_of(phase: u32, along: Along) -> Axis {
    // The position `phase` is made by the taps whose distance from `ahead` is a multiple of the stride.
    let ahead = phase + along.pad;
    let rest = ahead % along.phases;
    let tap = rest / along.divisor * along.inverse % along.classes;
    let has_taps = rest % along.divisor == 0u && tap < along.kernel;
    let taps = select(0u, taps_in(tap, along.kernel, along.classes), has_taps);
    let dilation = (0u - along.step) * along.divisor;
    // It may lie before the first pixel, and wraps then.
    let back = tap * dilation;
    let source = select(0u - (back - ahead) / along.phases, (ahead - back) / along.phases, ahead >= back);
    return Axis(tap, taps, source, (along.out - phase + along.phases - 1u) / along.phases);
}

struct Work {
    // What is written: the phase, positions of a row and of a column, the part.
    phase: vec2u,
    size: vec2u,
    part: u32,
    // What the first position reads for the first tap; taps of a row.
    source: vec2u,
    row_taps: u32,
    steps: u32,
    group: u32,
    // The row of the packed weight of the first step.
    weight_row: u32,
}

fn work_of(batch: u32, part: u32) -> Work {
    let group = batch % shape.groups;
    if PHASED == 0u {
        let steps = shape.kernel_width * shape.kernel_height * shape.group_vectors * 4u;
        let size = vec2u(shape.out_width, shape.out_height);
        let source = vec2u(0u - shape.pad_x, 0u - shape.pad_y);
        return Work(vec2u(), size, part, source, shape.kernel_width, steps, group, 0u);
    }
    let number = batch / shape.groups;
    let phase = vec2u(number % shape.phases_x, number / shape.phases_x);
    let y = axis_of(phase.y, Along(shape.pad_y, shape.kernel_height, shape.out_height, shape.step_y,
        shape.phases_y, shape.common_y, shape.classes_y, shape.inverse_y));
    let x = axis_of(phase.x, Along(shape.pad_x, shape.kernel_width, shape.out_width, shape.step_x,
        shape.phases_x, shape.common_x, shape.classes_x, shape.inverse_x));
    let tap = taps_before(y.class_number, shape.kernel_height, shape.classes_y) * shape.kernel_width
        + y.taps * taps_before(x.class_number, shape.kernel_width, shape.classes_x);
    let steps = x.taps * y.taps * shape.group_vectors * 4u;
    return Work(phase, vec2u(x.len, y.len), part, vec2u(x.source, y.source), max(x.taps, 1u), steps, group,
        tap * shape.group_vectors * 4u);
}

// Four positions: what each reads for the first tap, and the vec4 of the group's first channels there.
struct LeftPlace {
    y: vec4u,
    x: vec4u,
    at: vec4u,
    row_taps: u32,
    steps: u32,
}

// Outside of any image, whatever is added to it.
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
    // Sums that wrap below zero lie outside too.
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
    // Columns behind the last one are the last one, whose sums are not stored.
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
