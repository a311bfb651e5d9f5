fn transformed(g: vec4f, p: vec4f, at: u32) -> vec4f {
    return bounds_penalised(bounds_clipped(g), p);
}
