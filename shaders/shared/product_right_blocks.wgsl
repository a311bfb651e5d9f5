// The right factor of a product, if its neighbours in memory are neighbours along the steps. Distances are in vec4.
@group(0) @binding(2) var<storage, read> right: array<vec4f>;

alias RightPlace = vec4u;

fn right_place(work: Work, quad: u32) -> RightPlace {
    let column = vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u);
    // Columns past the end repeat the last one; their sums are not stored.
    let inside = select(min(column, vec4u(shape.columns - 1u)), column, EDGES_EVEN == 1u);
    return work.origin.y + inside * shape.right_column;
}

// The offset of a quad of steps from the first one.
fn right_step(step: u32) -> u32 {
    if REPEAT_AXES > 0u {
        return repeated(step / STEPS).y + step % STEPS / 4u;
    }
    return step / 4u;
}

fn right_block(place: RightPlace, step: u32) -> mat4x4f {
    let at = place + right_step(step);
    return mat4x4f(right[at.x], right[at.y], right[at.z], right[at.w]);
}
