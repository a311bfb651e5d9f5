// The left factor of a product, if its rows are adjacent in memory. Distances are in vec4.
@group(0) @binding(1) var<storage, read> left: array<vec4f>;

alias LeftPlace = u32;

fn left_place(work: Work, quad: u32) -> LeftPlace {
    // Quads past the end repeat the last one; their sums are not stored.
    return work.origin.x + select(min(quad, (shape.rows - 1u) / 4u), quad, EDGES_EVEN == 1u);
}

// The offset of a step from the first one.
fn left_step(step: u32) -> u32 {
    if REPEAT_AXES > 0u {
        return repeated(step / STEPS).x + step % STEPS * shape.left_inner;
    }
    return step * shape.left_inner;
}

fn left_quad(place: LeftPlace, step: u32) -> vec4f {
    return left[place + left_step(step)];
}
