fn updated(p: vec4f, g: vec4f, s: ptr<function, State>, at: u32) -> vec4f {
    let view = blocks[at / 16u];
    return rule(p, g, s, factors(view, at), values[views[view].ratio]);
}
