// Each element times its mask, times `scale`.
fn dropout_mask_of(x: vec4f, mask: vec4f, scale: f32) -> vec4f {
    return x * (mask * scale);
}

fn dropout_mask_grad0(dy: vec4f, x: vec4f, mask: vec4f, scale: f32) -> vec4f {
    return dy * (mask * scale);
}
