// Muon. Jordan et al. 2024, kellerjordan.github.io/posts/muon, in the form of torch; the products of its iteration are the
// graph's. Of other tensors AdamW, as in adam.wgsl.

// With adamw only what stands behind it counts, and lr_weight_decay: step_size and root_scale hold the bias corrections of
// the two moments.
struct Hyper {
    momentum: f32,
    one_minus_momentum: f32,
    nesterov: u32,
    eps: f32,
    lr: f32,
    lr_weight_decay: f32,
    adamw: u32,
    beta1: f32,
    one_minus_beta1: f32,
    beta2: f32,
    one_minus_beta2: f32,
    step_size: f32,
    root_scale: f32,
    adamw_eps: f32,
}
struct State { momentum_buffer: vec4f, exp_avg: vec4f, exp_avg_sq: vec4f }

// The direction to be orthogonalized, not yet normalized.
fn direction(g: vec4f, s: State) -> vec4f {
    let gradient = held_to(g, NORMABLE);
    let ahead = hyper.one_minus_momentum * gradient + hyper.momentum * s.momentum_buffer;
    return select(s.momentum_buffer, ahead, hyper.nesterov != 0u);
}

// Computes the direction and stores the state.
fn measure(p: vec4f, g: vec4f, s: ptr<function, State>) -> Measured {
    if hyper.adamw != 0u {
        let gradient = held_to(g, SQUARABLE);
        (*s).exp_avg = averaged((*s).exp_avg, gradient, hyper.beta1, hyper.one_minus_beta1);
        (*s).exp_avg_sq = averaged((*s).exp_avg_sq, squared(gradient), hyper.beta2, hyper.one_minus_beta2);
        return Measured(vec4f(), vec4f());
    }
    let gradient = held_to(g, NORMABLE);
    (*s).momentum_buffer =
        averaged((*s).momentum_buffer, gradient, hyper.momentum, hyper.one_minus_momentum);
    return Measured(direction(g, *s), vec4f());
}

fn ratio(norms: vec2f) -> f32 {
    return 1.0 / max(norms.x, hyper.eps);
}

// `orthogonal` is the orthogonalized direction.
fn rule(p: vec4f, orthogonal: vec4f, s: ptr<function, State>) -> vec4f {
    if hyper.adamw != 0u {
        let denominator = hyper.root_scale * moment_root((*s).exp_avg_sq) + hyper.adamw_eps;
        return p - (hyper.lr_weight_decay * p + hyper.step_size * (*s).exp_avg / denominator);
    }
    return p - (hyper.lr_weight_decay * p + hyper.lr * orthogonal);
}
