fn updated(p: vec4f, g: vec4f, s: ptr<function, State>, at: u32, row: u32, near: Near) -> vec4f {
    return rule(p, g, s, least(at, row, near));
}
