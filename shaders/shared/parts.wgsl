// Long lines of COUNT quads, STRIDE apart, in PARTS parts: part p holds the quads p, p + PARTS, p + 2 * PARTS, ..., so
// that neighbouring invocations read neighbours. Invocation i leaves its part in place i: lines of PARTS, STRIDE apart.
const STEP: u32 = PARTS * STRIDE;

fn line_of(i: u32) -> u32 {
    return i / STEP * STRIDE + i % STRIDE;
}

fn first_of(i: u32) -> u32 {
    return i / STEP * (COUNT * STRIDE) + i % STEP;
}

fn length_of(i: u32) -> u32 {
    return (COUNT - i % STEP / STRIDE + PARTS - 1u) / PARTS;
}
