// A chunk leaves one sum.
fn finish(chunk: u32, lane: u32, total: vec2f) {
    let sum = joined(lane, total);
    if lane == 0u {
        parts[chunk] = sum;
    }
}
