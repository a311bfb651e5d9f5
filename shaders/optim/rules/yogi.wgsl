// Yogi. Zaheer et al. 2018, NeurIPS, Alg. 2, with the bias corrections of optax.

// step_size and root_scale hold the bias corrections of the two moments; eps_root is as large as the second.
struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    one_minus_beta2: f32,
    step_size: f32,
    root_scale: f32,
    eps_root: f32,
    eps: f32,
    weight_decay: f32,
}
struct State { exp_avg: vec4f, exp_avg_sq: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = held_to(g + hyper.weight_decay * p, SQUARABLE);
    (*s).exp_avg = averaged((*s).exp_avg, gradient, hyper.beta1, hyper.one_minus_beta1);
    let square = squared(gradient);
    let change = hyper.one_minus_beta2 * sign_of((*s).exp_avg_sq - square) * square;
    (*s).exp_avg_sq = min((*s).exp_avg_sq - change, LARGEST);
    let denominator = hyper.root_scale * moment_root((*s).exp_avg_sq + hyper.eps_root) + hyper.eps;
    return p - hyper.step_size * (*s).exp_avg / denominator;
}
