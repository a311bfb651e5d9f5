// The right factor of a product, if its columns are adjacent in memory. Distances are in vec4.
@group(0) @binding(2) var<storage, read> right: array<vec4f>;

alias RightPlace = u32;

fn right_place(work: Work, quad: u32) -> RightPlace {
    // Quads past the end repeat the last one; their sums are not stored.
    return work.origin.y + select(min(quad, (shape.columns - 1u) / 4u), quad, EDGES_EVEN == 1u);
}

// The offset of a step from the first one.
fn right_step(step: u32) -> u32 {
    if REPEAT_AXES > 0u {
        return repeated(step / STEPS).y + step % STEPS * shape.right_inner;
    }
    return step * shape.right_inner;
}

fn right_quad(place: RightPlace, step: u32) -> vec4f {
    return right[place + right_step(step)];
}
