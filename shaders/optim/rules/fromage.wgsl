// Fromage: a gradient step whose length in each tensor is proportional to the norm of the parameters, followed by a
// shrink that compensates for their growth. Bernstein et al. 2020, arXiv:2002.03432, Alg. 1.

// lost is 1 - 1 / sqrt(1 + lr^2), which for a small lr is more exact than what is left, and rate is lr / sqrt(1 + lr^2).
struct Hyper { lost: f32, rate: f32, min_norm: f32 }
// WGSL has no empty structs.
struct State { nothing: vec4f }

fn measure(p: vec4f, g: vec4f, s: ptr<function, State>) -> Measured {
    return Measured(p, held_to(g, NORMABLE));
}

// 1 if there is nothing to compare.
fn ratio(lengths: vec2f) -> f32 {
    // Keeps NaN, which `max` need not.
    let norms = select(lengths, vec2f(hyper.min_norm), lengths < vec2f(hyper.min_norm));
    return select(norms.x / norms.y, 1.0, norms.x == 0.0 || norms.y == 0.0);
}

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>, ratio: f32) -> vec4f {
    return p - (hyper.lost * p + hyper.rate * (ratio * held_to(g, NORMABLE)));
}
