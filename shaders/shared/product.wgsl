// Sizes of output = left * right, and where the matrices of a batch begin. Distances are in vec4, and in elements
// where a kernel reads elements.
struct Shape {
    rows: u32,
    columns: u32,
    inner: u32,
    // What the kernel counts along the inner dimension, over all repeats.
    steps: u32,
    left_offset: u32,
    left_row: u32,
    left_inner: u32,
    right_offset: u32,
    right_inner: u32,
    right_column: u32,
    out_offset: u32,
    out_row: u32,
    // Of a row of the output; columns from `columns` on are set to zero.
    out_width: u32,
    // Of one matrix: along a column in kernels with tiles of vec4, along a row in the plain one.
    line_tiles: u32,
    tiles: u32,
    grid_width: u32,
    // The parts of a long sum are workgroups along z: steps that each sums, the number of the first one of this
    // dispatch, and the distance of their outputs.
    run: u32,
    first_part: u32,
    part_len: u32,
    has_bias: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// Where left matrix, right matrix and output number `batch` begin.
fn origins(batch: u32) -> vec3u {
    var at = vec3u(shape.left_offset, shape.right_offset, shape.out_offset);
    var rest = batch;
    #for i in 0..BATCH_AXES
    at += rest % BATCH_$i * vec3u(BATCH_LEFT_$i, BATCH_RIGHT_$i, BATCH_OUT_$i);
    rest /= BATCH_$i;
    #end
    return at;
}

// Where left and right matrix number `repeat` of those whose products are added begin, from the first on.
fn repeated(repeat: u32) -> vec2u {
    var at = vec2u();
    var rest = repeat;
    #for i in 0..REPEAT_AXES
    at += rest % REPEAT_$i * vec2u(REPEAT_LEFT_$i, REPEAT_RIGHT_$i);
    rest /= REPEAT_$i;
    #end
    return at;
}

