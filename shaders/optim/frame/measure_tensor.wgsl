fn begin_chunk(tile: u32) {}

fn measured(p: vec4f, g: vec4f, s: ptr<function, State>, at: u32) -> Measured {
    return measure(p, g, s);
}
