// The output of a product, with any layout. Distances are in elements.
@group(0) @binding(4) var<storage, read_write> output: array<f32>;

// Stores four sums of a row. Those past the columns are padding, which stays zero.
fn put(work: Work, row: u32, quad: u32, sum: vec4f, bias: vec4f) {
    if row >= shape.rows || quad * 4u >= shape.out_width {
        return;
    }
    let at = work.origin.z + row * shape.out_row + quad * 4u;
    var value = sum;
    if work.has_bias {
        value += bias;
    }
    #for i in 0..4
    if quad * 4u + $i >= shape.columns {
        value[$i] = 0.0;
    } else if shape.accumulate == 1u {
        value[$i] += output[at + $i];
    }
    #end
    // If `finish` does anything, rows are whole vec4s.
    let finished = finish(at / 4u, value);
    #for i in 0..4
    if quad * 4u + $i < shape.out_width {
        output[at + $i] = finished[$i];
    }
    #end
}
