// NAdam. Dozat 2016, ICLR workshop, Alg. 2, in the forms of torch and of optax.

// grad_size and step_size are the weights of the gradient and of its average, with the rate and the bias
// corrections; root_scale holds that of the second moment, and eps_root is as large as that.
struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    grad_size: f32,
    step_size: f32,
    root_scale: f32,
    eps_root: f32,
    eps: f32,
    weight_decay: f32,
    lr_weight_decay: f32,
}
struct State { exp_avg: vec4f, exp_avg_sq: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = held_to(g + hyper.weight_decay * p, SQUARABLE);
    (*s).exp_avg = averaged((*s).exp_avg, gradient, hyper.beta1, hyper.one_minus_beta1);
    (*s).exp_avg_sq = averaged((*s).exp_avg_sq, squared(gradient), hyper.beta2, hyper.one_minus_beta2);
    let denominator = hyper.root_scale * moment_root((*s).exp_avg_sq + hyper.eps_root) + hyper.eps;
    let direction = hyper.grad_size * gradient + hyper.step_size * (*s).exp_avg;
    return p - (hyper.lr_weight_decay * p + direction / denominator);
}
