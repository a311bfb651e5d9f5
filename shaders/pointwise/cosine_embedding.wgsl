// 1 - c if t is 1, max(c - margin, 0) if it is -1, otherwise 0.
fn cosine_embedding_of(c: vec4f, t: vec4f, margin: f32) -> vec4f {
    let apart = select(c - vec4f(margin), vec4f(), c < vec4f(margin));
    return select(select(vec4f(), apart, t == vec4f(-1.0)), vec4f(1.0) - c, t == vec4f(1.0));
}

fn cosine_embedding_grad0(dy: vec4f, c: vec4f, t: vec4f, margin: f32) -> vec4f {
    let apart = select(dy, vec4f(), c < vec4f(margin));
    return select(select(vec4f(), apart, t == vec4f(-1.0)), -dy, t == vec4f(1.0));
}
