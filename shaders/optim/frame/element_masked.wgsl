// As element.wgsl, for rules that may not map zeros to zeros: padding after a tensor is kept at zero. `real` holds the
// number of elements in each block of 64.
fn updated(p: vec4f, g: vec4f, s: ptr<function, State>, at: u32) -> vec4f {
    let inside = vec4u(at % 16u * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(real[at / 16u]);
    let fast = rule(p, g, s);
    keep_inside(s, inside);
    return select(vec4f(), fast, inside);
}
