@group(0) @binding(6) var<storage, read> values: array<vec4f>;

fn updated(p: vec4f, g: vec4f, s: ptr<function, State>, at: u32, row: u32, near: Near) -> vec4f {
    return rule(p, g, s, statistics(at, row, near), ratio_now);
}

fn leave(column: u32) {
}
