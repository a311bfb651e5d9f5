// AdaBelief. Zhuang et al. 2020, arXiv:2010.07468, Alg. 2.

// step_size and root_scale hold the bias corrections of the two moments; grad_size is the weight of the gradient in
// Nesterov's step, or 0.
struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    step_size: f32,
    grad_size: f32,
    root_scale: f32,
    eps: f32,
    eps_root: f32,
    weight_decay: f32,
}
struct State { exp_avg: vec4f, exp_avg_sq: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = held_to(g + hyper.weight_decay * p, SQUARABLE);
    // The gradient's distance from the new average, by way of the old one: without the new one's rounding.
    let surprise = hyper.beta1 * (gradient - (*s).exp_avg);
    (*s).exp_avg = averaged((*s).exp_avg, gradient, hyper.beta1, hyper.one_minus_beta1);
    let second = averaged((*s).exp_avg_sq, squared(surprise), hyper.beta2, hyper.one_minus_beta2);
    (*s).exp_avg_sq = min(second + hyper.eps_root, LARGEST);
    let denominator = hyper.root_scale * moment_root((*s).exp_avg_sq) + hyper.eps;
    var direction = hyper.step_size * (*s).exp_avg;
    if hyper.grad_size != 0.0 {
        direction += hyper.grad_size * gradient;
    }
    return p - direction / denominator;
}
