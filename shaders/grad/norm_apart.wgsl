// Each lane writes its own part.
fn leave(number: u32, lane: u32, part: Part) {
    parts[call.out + number * LANES + lane] = part;
}
