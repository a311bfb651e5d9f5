// Adamax. Kingma & Ba 2015, arXiv:1412.6980, Alg. 2.

// step_size holds the bias correction of the moment.
struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    step_size: f32,
    eps: f32,
    weight_decay: f32,
}
struct State { exp_avg: vec4f, exp_inf: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = g + hyper.weight_decay * p;
    (*s).exp_avg = averaged_apart((*s).exp_avg, gradient, hyper.beta1, hyper.one_minus_beta1);
    (*s).exp_inf = max(hyper.beta2 * (*s).exp_inf, min(abs(gradient) + hyper.eps, LARGEST));
    return p - hyper.step_size * (*s).exp_avg / at_least_tiny((*s).exp_inf);
}
