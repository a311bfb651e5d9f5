// Sizes of output = left * right, and the offsets of the matrices of a batch. Distances are in vec4, or in elements
// for kernels that read elements.
struct Shape {
    rows: u32,
    columns: u32,
    inner: u32,
    // Number of steps along the inner dimension, in the kernel's units, including all repeats.
    steps: u32,
    left_offset: u32,
    left_row: u32,
    left_inner: u32,
    right_offset: u32,
    right_inner: u32,
    right_column: u32,
    out_offset: u32,
    out_row: u32,
    // Width of a row of the output. Columns from `columns` on are set to zero.
    out_width: u32,
    // Number of tiles of one matrix: along a column in kernels with tiles of vec4, along a row in the plain kernel.
    line_tiles: u32,
    tiles: u32,
    grid_width: u32,
    // The parts of a long sum are workgroups along z: number of steps per part, number of the first part of this
    // dispatch, and the distance between their outputs.
    run: u32,
    first_part: u32,
    part_len: u32,
    has_bias: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// The offsets of left matrix, right matrix and output for matrix `batch`.
fn origins(batch: u32) -> vec3u {
    var at = vec3u(shape.left_offset, shape.right_offset, shape.out_offset);
    var rest = batch;
    #for i in 0..BATCH_AXES
    at += rest % BATCH_$i * vec3u(BATCH_LEFT_$i, BATCH_RIGHT_$i, BATCH_OUT_$i);
    rest /= BATCH_$i;
    #end
    return at;
}

// The offsets of left and right matrix number `repeat`, of those whose products are summed, relative to the first.
fn repeated(repeat: u32) -> vec2u {
    var at = vec2u();
    var rest = repeat;
    #for i in 0..REPEAT_AXES
    at += rest % REPEAT_$i * vec2u(REPEAT_LEFT_$i, REPEAT_RIGHT_$i);
    rest /= REPEAT_$i;
    #end
    return at;
}

