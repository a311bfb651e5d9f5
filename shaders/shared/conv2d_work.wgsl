// A convolution of NHWC activations as a product, and the part of it that a tile computes: rows are positions in all
// images, columns the output channels of one group, and steps its input channels for each tap.
//
// With PHASED it is the input gradient: one product for each phase of the stride, because all positions of a phase
// use the same taps, which are adjacent in the packed weight (`phases.wgsl`).
struct Shape {
    // The image that is read: pixels, and vec4s of channels per pixel and per group.
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
    // Distance in pixels between positions, and between consecutive taps of a phase (backward with PHASED).
    stride_y: u32,
    stride_x: u32,
    step_y: u32,
    step_x: u32,
    pad_y: u32,
    pad_x: u32,
    // With PHASED: the number of phases; their greatest common divisor with the dilation; their quotient, which is
    // the number of classes of taps; and the inverse of the dilation's quotient modulo that number.
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
    // Number of steps of a part, the first part of this dispatch, and vec4s of a part of the output. Parts are
    // workgroups along z.
    run: u32,
    first_part: u32,
    part_len: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> input: array<vec4f>;
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

// A phase along an axis: its class of taps, their number, the position read for the first output and tap, and the
// number of positions.
struct Axis {
    class_number: u32,
    taps: u32,
    source: u32,
    len: u32,
}

// Sizes of an axis: taps, pixels and phases.
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
    // Position `phase` uses the taps whose distance from `ahead` is a multiple of the stride.
    let ahead = phase + along.pad;
    let rest = ahead % along.phases;
    let tap = rest / along.divisor * along.inverse % along.classes;
    let has_taps = rest % along.divisor == 0u && tap < along.kernel;
    let taps = select(0u, taps_in(tap, along.kernel, along.classes), has_taps);
    let dilation = (0u - along.step) * along.divisor;
    // It can be before the first pixel, and then wraps.
    let back = tap * dilation;
    let source = select(0u - (back - ahead) / along.phases, (ahead - back) / along.phases, ahead >= back);
    return Axis(tap, taps, source, (along.out - phase + along.phases - 1u) / along.phases);
}

struct Work {
    // What is written: the phase, positions per row and column, the part.
    phase: vec2u,
    size: vec2u,
    part: u32,
    // What the first position reads for the first tap, and the number of taps per row.
    source: vec2u,
    row_taps: u32,
    steps: u32,
    group: u32,
    // The row of the packed weight for the first step.
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

