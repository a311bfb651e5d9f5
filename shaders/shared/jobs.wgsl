// Jobs for several tensors. A row of the table starts with the job's first invocation, the first quad of its part of
// the arena, and its two tensors. There are JOBS rows of ROW_QUADS quads. Numbers of TENSORS or more mean no tensor.

fn row_of(index: u32) -> u32 {
    var row = 0u;
    #for j in 1..JOBS
    row = select(row, $j * ROW_QUADS, index >= table[$j * ROW_QUADS].x);
    #end
    return row;
}

fn tensor_value(number: u32, at: u32) -> f32 {
    var value = 0.0;
    #for t in 0..TENSORS
    if number == $t {
        value = tensor$t[at];
    }
    #end
    return value;
}
