// Lamb: Adam's direction, scaled in each tensor to the norm of the parameters. You et al. 2020, arXiv:1904.00962, Alg.
// 2, without a bound on the norm of the parameters.

// correction and root_scale hold the bias corrections of the two moments; eps_root is as large as the second.
struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    correction: f32,
    root_scale: f32,
    eps_root: f32,
    eps: f32,
    weight_decay: f32,
}
struct State { exp_avg: vec4f, exp_avg_sq: vec4f }

fn direction(p: vec4f, s: State) -> vec4f {
    let denominator = hyper.root_scale * moment_root(s.exp_avg_sq + hyper.eps_root) + hyper.eps;
    return held(hyper.correction * s.exp_avg / denominator) + hyper.weight_decay * p;
}

// Measures the parameters and the direction. The moments are stored here, so that the update needs no gradient.
fn measure(p: vec4f, g: vec4f, s: ptr<function, State>) -> Measured {
    let gradient = held_to(g, SQUARABLE);
    (*s).exp_avg = averaged((*s).exp_avg, gradient, hyper.beta1, hyper.one_minus_beta1);
    (*s).exp_avg_sq = averaged((*s).exp_avg_sq, squared(gradient), hyper.beta2, hyper.one_minus_beta2);
    return Measured(p, direction(p, *s));
}

// 1 if there is nothing to compare.
fn ratio(norms: vec2f) -> f32 {
    return select(norms.x / norms.y, 1.0, norms.x == 0.0 || norms.y == 0.0);
}

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>, ratio: f32) -> vec4f {
    return p - call.lr * (ratio * direction(p, *s));
}
