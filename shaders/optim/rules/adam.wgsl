// Adam, AdamW and AMSGrad. Kingma & Ba 2015, arXiv:1412.6980, Alg. 1; Loshchilov & Hutter 2019,
// arXiv:1711.05101, Alg. 2; Reddi et al. 2018, arXiv:1904.09237, Alg. 2.

// step_size and root_scale hold the bias corrections of the two moments; grad_size is the weight of the gradient in
// Nesterov's step, or 0; eps_root is as large as what it is added to; max_scale is what the second moment is multiplied
// by before AMSGrad's maximum.
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
    amsgrad: u32,
    max_scale: f32,
}
struct State { exp_avg: vec4f, exp_avg_sq: vec4f, max_exp_avg_sq: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = held_to(g + hyper.weight_decay * p, SQUARABLE);
    (*s).exp_avg = averaged((*s).exp_avg, gradient, hyper.beta1, hyper.one_minus_beta1);
    (*s).exp_avg_sq = averaged((*s).exp_avg_sq, squared(gradient), hyper.beta2, hyper.one_minus_beta2);
    var second = (*s).exp_avg_sq;
    if hyper.amsgrad != 0u {
        second = max((*s).max_exp_avg_sq, hyper.max_scale * second);
        (*s).max_exp_avg_sq = second;
    }
    let denominator = hyper.root_scale * moment_root(second + hyper.eps_root) + hyper.eps;
    var direction = hyper.step_size * (*s).exp_avg;
    if hyper.grad_size != 0.0 {
        direction += hyper.grad_size * gradient;
    }
    return p - (hyper.lr_weight_decay * p + direction / denominator);
}
