// Running statistics that are exponential moving averages; the count of batches is not read.
fn weight_of_batch() -> f32 {
    return shape.momentum;
}

fn count_batch(line: u32) {
    if line == 0u {
        num_batches_tracked[0] += 1.0;
    }
}
