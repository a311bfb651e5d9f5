// SM3-II, with momentum as in optax. Anil et al. 2019, arXiv:1901.11150, Alg. 2.

// weight is that of a new square: 1 where b2 is 1.
struct Hyper {
    b2: f32,
    weight: f32,
    momentum: f32,
    one_minus_momentum: f32,
    eps: f32,
    weight_decay: f32,
}
struct State { momentum_buffer: vec4f }

fn decayed(p: vec4f, g: vec4f) -> vec4f {
    return held_to(g + hyper.weight_decay * p, SUMMABLE);
}

// Of one element, from the least that its axes hold for it.
fn statistic(p: vec4f, g: vec4f, least: vec4f) -> vec4f {
    return min(hyper.weight * squared(decayed(p, g)) + hyper.b2 * least, LARGEST);
}

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>, least: vec4f) -> vec4f {
    let sum = statistic(p, g, least);
    let scaled = decayed(p, g) / sqrt(at_least_tiny(sum + hyper.eps));
    let direction = select(vec4f(), scaled, sum != vec4f());
    (*s).momentum_buffer = hyper.momentum * (*s).momentum_buffer + hyper.one_minus_momentum * direction;
    return p - call.lr * (*s).momentum_buffer;
}
