// RAdam. Liu et al. 2020, arXiv:1908.03265, Alg. 2, in the forms of torch and of optax.

// step_size holds the rate, the bias correction of the first moment and the rectification, root_scale that of
// the second. Before there is a rectification they make the denominator 1. grad_size is the weight of the gradient in
// Nesterov's step, or 0; eps_root is as large as what it is added to.
struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    step_size: f32,
    grad_size: f32,
    root_scale: f32,
    eps_root: f32,
    eps: f32,
    weight_decay: f32,
    lr_weight_decay: f32,
}
struct State { exp_avg: vec4f, exp_avg_sq: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let whole = g + hyper.weight_decay * p;
    let squarable = held_to(whole, SQUARABLE);
    // Without a rectification there is no root, and no bound.
    let is_free = hyper.root_scale == 0.0;
    let gradient = select(squarable, whole, is_free);
    (*s).exp_avg = averaged_apart((*s).exp_avg, gradient, hyper.beta1, hyper.one_minus_beta1);
    (*s).exp_avg_sq = averaged((*s).exp_avg_sq, squared(squarable), hyper.beta2, hyper.one_minus_beta2);
    let denominator = hyper.root_scale * moment_root((*s).exp_avg_sq + hyper.eps_root) + hyper.eps;
    var direction = hyper.step_size * select(held_to((*s).exp_avg, SQUARABLE), (*s).exp_avg, is_free);
    if hyper.grad_size != 0.0 {
        direction += hyper.grad_size * gradient;
    }
    return p - (hyper.lr_weight_decay * p + direction / denominator);
}
