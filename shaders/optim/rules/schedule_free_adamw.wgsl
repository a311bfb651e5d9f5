// Schedule-free AdamW. Defazio et al. 2024, arXiv:2405.15682, Alg. 1, in the form of optax: the parameters are y.

// rate is that of this step, root_scale holds the bias correction of the second moment; share is the weight of z in the
// average x, and follows is how much of the step of z the parameters make. With begins, z is where the parameters are.
struct Hyper {
    beta2: f32,
    one_minus_beta2: f32,
    root_scale: f32,
    eps: f32,
    weight_decay: f32,
    rate: f32,
    share: f32,
    follows: f32,
    begins: u32,
}
struct State { z: vec4f, exp_avg_sq: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = held_to(g, SQUARABLE);
    (*s).exp_avg_sq = averaged((*s).exp_avg_sq, squared(gradient), hyper.beta2, hyper.one_minus_beta2);
    let denominator = hyper.root_scale * moment_root((*s).exp_avg_sq) + hyper.eps;
    let step = hyper.rate * (gradient / denominator + hyper.weight_decay * p);
    let z = select((*s).z, p, hyper.begins != 0u);
    (*s).z = z - step;
    return p + (hyper.share * (z - p) - hyper.follows * step);
}
