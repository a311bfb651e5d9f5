// Novograd: gradients divided by their tensor's running norm, accumulated with momentum. Ginsburg et al. 2019,
// arXiv:1905.11286, Alg. 1, in optax's form.

// keep and take are the weights of the tensor's running norm and of the new one: 0 and 1 in the first step.
struct Hyper { beta1: f32, keep: f32, take: f32, eps: f32, eps_root: f32, weight_decay: f32 }
struct State { exp_avg: vec4f }

fn measure(p: vec4f, g: vec4f, s: ptr<function, State>) -> Measured {
    return Measured(held_to(g, NORMABLE), vec4f());
}

// A gradient whose norm has no square counts as if it were shorter.
fn ratio(norms: vec2f, exp_avg_sq: ptr<function, f32>) -> f32 {
    let norm = min(norms.x, bitcast<f32>(SQUARABLE));
    *exp_avg_sq = hyper.keep * *exp_avg_sq + hyper.take * norm * norm;
    let shorter = select(1.0, norm / norms.x, norms.x > norm);
    return shorter / (moment_root(vec4f(*exp_avg_sq + hyper.eps_root)).x + hyper.eps);
}

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>, ratio: f32) -> vec4f {
    (*s).exp_avg = hyper.beta1 * (*s).exp_avg + (ratio * held_to(g, NORMABLE) + hyper.weight_decay * p);
    return p - call.lr * (*s).exp_avg;
}
