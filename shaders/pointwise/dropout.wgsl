// Each element times `scale` if its uniform number is at least `p`, otherwise 0. The backward pass calls it too, and
// so draws the same numbers.
fn dropout_of(x: vec4f, quad: u32, stream: u32, p: f32, scale: f32) -> vec4f {
    let words = random_words(vec4u(quad, stream, random[0].zw), random[0].xy);
    return x * select(vec4f(0.0), vec4f(scale), random_uniform(words) >= vec4f(p));
}

fn dropout_grad0(dy: vec4f, quad: u32, stream: u32, p: f32, scale: f32) -> vec4f {
    return dropout_of(dy, quad, stream, p, scale);
}
