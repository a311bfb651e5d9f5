// Lion. Chen et al. 2023, arXiv:2302.06675, Alg. 2.

struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    weight_decay: f32,
}
struct State { exp_avg: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let direction = sign_of(averaged_apart((*s).exp_avg, g, hyper.beta1, hyper.one_minus_beta1));
    (*s).exp_avg = averaged_apart((*s).exp_avg, g, hyper.beta2, hyper.one_minus_beta2);
    return p - call.lr * (direction + hyper.weight_decay * p);
}
