// The orthogonalized directions.
@group(0) @binding(5) var<storage, read> directions: array<vec4f>;

fn updated(p: vec4f, g: vec4f, s: ptr<function, State>, at: u32) -> vec4f {
    return rule(p, directions[at], s);
}
