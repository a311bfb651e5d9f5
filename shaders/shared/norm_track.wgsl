// Moves the running statistics of four columns towards those of the batch, with the unbiased variance. In the padding
// everything is zero.
fn track(line: u32, moments: Moments) {
    let weight = weight_of_batch();
    let variance = moments.squares * shape.scale * shape.unbias;
    let mean = moments.shift + moments.delta;
    running_mean[line] = running_mean[line] * (1.0 - weight) + mean * weight;
    running_var[line] = running_var[line] * (1.0 - weight) + variance * weight;
    count_batch(line);
}
