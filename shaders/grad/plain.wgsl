// No fused transforms.
fn transformed(g: vec4f, p: vec4f, at: u32) -> vec4f {
    return g;
}
