// The offset of a row of a plane, from the offset of the first row and the strides of batch, head and row, in quads.
fn at(plane: u32, row: u32, strides: vec4u) -> u32 {
    return strides.x + plane / HEADS * strides.y + plane % HEADS * strides.z + row * strides.w;
}

// A quad of a row with zeros after the last column.
fn inside_of(value: vec4f, quad: u32, columns: u32) -> vec4f {
    return select(vec4f(), value, vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(columns));
}
