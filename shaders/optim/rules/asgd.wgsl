// ASGD. Polyak & Juditsky 1992, SIAM J. Control Optim. 30(4), with the rates of Bottou and of torch.

// eta and mu are the rate of this step and the weight of its parameters in the average.
struct Hyper {
    eta: f32,
    eta_lambd: f32,
    weight_decay: f32,
    mu: f32,
    one_minus_mu: f32,
}
struct State { ax: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = g + hyper.weight_decay * p;
    let updated = p - (hyper.eta_lambd * p + hyper.eta * gradient);
    (*s).ax = averaged_apart((*s).ax, updated, hyper.one_minus_mu, hyper.mu);
    return updated;
}
