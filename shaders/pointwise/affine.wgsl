// x * scale + shift, for two constants.
fn affine_of(x: vec4f, scale: f32, shift: f32) -> vec4f {
    return x * scale + vec4f(shift);
}

fn affine_grad0(dy: vec4f, scale: f32, shift: f32) -> vec4f {
    return dy * scale;
}
