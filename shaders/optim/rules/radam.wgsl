// RAdam. Liu et al. 2020, arXiv:1908.03265, Alg. 2, in the forms of torch and of optax.

// step_size holds the rate, the bias correction of the first moment and the rectification, root_scale that of
// the second. Before there is a rectification they make the denominator 1.
struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    step_size: f32,
    root_scale: f32,
    eps: f32,
    weight_decay: f32,
    lr_weight_decay: f32,
}
struct State { exp_avg: vec4f, exp_avg_sq: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = g + hyper.weight_decay * p;
    (*s).exp_avg = averaged((*s).exp_avg, gradient, hyper.beta1, hyper.one_minus_beta1);
    let square = squared(held_to(gradient, SQUARABLE));
    (*s).exp_avg_sq = averaged((*s).exp_avg_sq, square, hyper.beta2, hyper.one_minus_beta2);
    let denominator = hyper.root_scale * moment_root((*s).exp_avg_sq) + hyper.eps;
    // Without a rectification there is no root, and no bound.
    let average = select(held_to((*s).exp_avg, SQUARABLE), (*s).exp_avg, hyper.root_scale == 0.0);
    return p - (hyper.lr_weight_decay * p + hyper.step_size * average / denominator);
}
