// The (1 + lambda) evolution strategy with the one-fifth rule (Schumer and Steiglitz 1968; Rechenberg 1973). The parent is
// the best point of all; `state[0]` is the width of its normal mutations, in half widths of the box.
struct Hyper {
    grows: f32,
    shrinks: f32,
    least: f32,
    most: f32,
}

const MUTATION = 1u;

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    if progress[GENERATION] == 0u {
        let first = held(1u + dimension);
        points[element] = select(anywhere(element, dimension, MUTATION), first, member == 0u);
        return;
    }
    let parent = best_point(dimension);
    points[element] = inside(parent + held(0u) * normal_of(element, MUTATION), dimension);
}

fn adapt_count() -> u32 {
    return 1u;
}

fn adapt_term(item: u32) -> vec2f {
    return vec2f();
}

fn adapt(sum: vec2f) {
    // The first generation has no parent.
    if progress[GENERATION] > 1u {
        let factor = select(hyper.shrinks, hyper.grows, progress[IMPROVED] != 0u);
        hold(0u, clamp(held(0u) * factor, hyper.least, hyper.most));
    }
}
