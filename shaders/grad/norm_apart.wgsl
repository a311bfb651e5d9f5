// Each lane leaves its own part.
fn leave(number: u32, lane: u32, part: vec2u) {
    parts[call.out + number * LANES + lane] = part;
}
