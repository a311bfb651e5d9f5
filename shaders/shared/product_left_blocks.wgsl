// The left factor of a product, if its neighbours in memory are neighbours along the steps. Distances are in vec4.
@group(0) @binding(1) var<storage, read> left: array<vec4f>;

alias LeftPlace = vec4u;

fn left_place(work: Work, quad: u32) -> LeftPlace {
    let row = vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u);
    // Rows past the end repeat the last one; their sums are not stored.
    let inside = select(min(row, vec4u(shape.rows - 1u)), row, EDGES_EVEN == 1u);
    return work.origin.x + inside * shape.left_row;
}

// The offset of a quad of steps from the first one.
fn left_step(step: u32) -> u32 {
    if REPEAT_AXES > 0u {
        return repeated(step / STEPS).x + step % STEPS / 4u;
    }
    return step / 4u;
}

fn left_block(place: LeftPlace, step: u32) -> mat4x4f {
    let at = place + left_step(step);
    return mat4x4f(left[at.x], left[at.y], left[at.z], left[at.w]);
}
