// Clip by value, and the gradients of penalties. Both map the zeros of padding to zeros.

// Keeps a NaN, as torch does, which `clamp` need not.
fn bounds_clipped(g: vec4f) -> vec4f {
    let most = vec4f(call.clip_value);
    return select(select(g, most, g > most), -most, g < -most);
}

fn bounds_penalised(g: vec4f, p: vec4f) -> vec4f {
    return g + call.l1 * sign_of(p) + call.l2 * p;
}
