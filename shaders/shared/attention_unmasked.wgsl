// No mask: all scores take part.
fn takes_part(plane: u32, queries: vec4u, keys: vec4u) -> vec4<bool> {
    return vec4<bool>(true);
}
