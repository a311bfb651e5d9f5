// Whether each element of a quad is a column, and not the padding of a row of `QUADS` quads with `COLUMNS` columns.
fn is_column(quad: u32) -> vec4<bool> {
    return vec4u(quad % QUADS * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(COLUMNS);
}
