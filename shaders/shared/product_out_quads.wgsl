// The output of a product, if its rows are whole vec4s. Distances are in vec4.
@group(0) @binding(4) var<storage, read_write> output: array<vec4f>;

// Stores four sums of a row. Those past the columns are padding, which stays zero.
fn put(work: Work, row: u32, quad: u32, sum: vec4f, bias: vec4f) {
    if EDGES_EVEN == 0u && (row >= shape.rows || quad >= shape.out_width) {
        return;
    }
    let at = work.origin.z + row * shape.out_row + quad;
    var value = sum;
    if work.has_bias {
        value += bias;
    }
    if shape.accumulate == 1u {
        value += output[at];
    }
    if EDGES_EVEN == 0u {
        value = select(vec4f(), value, vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(shape.columns));
    }
    output[at] = finish(at, value);
}
