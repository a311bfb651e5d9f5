// A workgroup writes one part.
fn leave(number: u32, lane: u32, part: Part) {
    let whole = lanes_joined(lane, part);
    if lane == 0u {
        parts[call.out + number] = whole;
    }
}
