// Adan. Xie et al. 2022, arXiv:2208.06677, Alg. 1, in the form of optax.

// step_size and diff_size are the weights of the averages of the gradient and of its change, with the rate and the bias
// corrections; root_scale holds that of the second moment, and eps_root is as large as that. With begins there is no
// gradient before this one.
struct Hyper {
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    beta3: f32,
    one_minus_beta3: f32,
    step_size: f32,
    diff_size: f32,
    root_scale: f32,
    eps_root: f32,
    eps: f32,
    lr_weight_decay: f32,
    begins: u32,
}
struct State { exp_avg: vec4f, exp_avg_diff: vec4f, exp_avg_sq: vec4f, g_prev: vec4f }

// Bits of 2^62: a gradient and twice as much have a square together.
const CHANGEABLE = 0x5e800000u;

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = held_to(g, CHANGEABLE);
    let change = select(gradient - (*s).g_prev, vec4f(), hyper.begins != 0u);
    (*s).g_prev = gradient;
    (*s).exp_avg = averaged((*s).exp_avg, gradient, hyper.beta1, hyper.one_minus_beta1);
    (*s).exp_avg_diff = averaged((*s).exp_avg_diff, change, hyper.beta2, hyper.one_minus_beta2);
    let ahead = gradient + hyper.one_minus_beta2 * change;
    (*s).exp_avg_sq = averaged((*s).exp_avg_sq, squared(ahead), hyper.beta3, hyper.one_minus_beta3);
    let denominator = hyper.root_scale * moment_root((*s).exp_avg_sq + hyper.eps_root) + hyper.eps;
    let direction = hyper.step_size * (*s).exp_avg + hyper.diff_size * (*s).exp_avg_diff;
    return p - (hyper.lr_weight_decay * p + direction / denominator);
}
