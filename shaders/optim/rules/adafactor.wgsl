// Adafactor, in the forms of torch and of optax. Shazeer and Stern 2018, arXiv:1804.04235, Alg. 4 and 5.

// beta is the weight of the old second moment. Zeros stand for what a form lacks: mean_floor and variance_floor for
// optax's, eps and momentum for torch's; clip is 0 where updates are not clipped, scaled is 0 where the size of the
// parameters does not matter.
struct Hyper {
    beta: f32,
    one_minus_beta: f32,
    eps: f32,
    mean_floor: f32,
    variance_floor: f32,
    clip: f32,
    rate: f32,
    scaled: u32,
    scale_floor: f32,
    decay: f32,
    momentum: f32,
    one_minus_momentum: f32,
}
struct State { exp_avg: vec4f }

fn statistic(p: vec4f, g: vec4f) -> vec4f {
    return min(squared(held_to(g, SQUARABLE)) + hyper.eps, LARGEST);
}

fn renewed(old: f32, mean: f32) -> f32 {
    return averaged(vec4f(old), vec4f(mean), hyper.beta, hyper.one_minus_beta).x;
}

// The product of rows and columns may not fit where it is not divided first.
fn direction(g: vec4f, f: Statistics) -> vec4f {
    let part = f.row / at_least_tiny(select(f.mean, vec4f(hyper.mean_floor), f.mean < vec4f(hyper.mean_floor)));
    let variance = select(part, vec4f(1.0), f.whole) * f.column;
    let floor = vec4f(hyper.variance_floor);
    return held_to(g, SQUARABLE) / sqrt(at_least_tiny(held(select(variance, floor, variance < floor))));
}

fn measure(p: vec4f, g: vec4f, f: Statistics) -> Measured {
    return Measured(p, direction(g, f));
}

// Of the root mean squares of the parameters and of the direction.
fn ratio(roots: vec2f) -> f32 {
    let scale = select(1.0, max(hyper.scale_floor, roots.x), hyper.scaled != 0u);
    let excess = select(1.0, max(1.0, roots.y / hyper.clip), hyper.clip > 0.0);
    return hyper.rate * scale / excess;
}

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>, f: Statistics, ratio: f32) -> vec4f {
    let step = ratio * direction(g, f);
    (*s).exp_avg = hyper.momentum * (*s).exp_avg + hyper.one_minus_momentum * step;
    return p - (hyper.decay * p + (*s).exp_avg);
}
