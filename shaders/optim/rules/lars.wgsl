// Lars: momentum on gradients that are scaled in each tensor to a fraction of the norm of the parameters. You et al.
// 2017, arXiv:1708.03888, Alg. 1.

// inside and outside are the learning rate and 1: the buffer holds steps, or gradients.
struct Hyper {
    inside: f32,
    outside: f32,
    momentum: f32,
    nesterov: u32,
    trust_coefficient: f32,
    eps: f32,
    weight_decay: f32,
}
struct State { momentum_buffer: vec4f }

fn decayed(p: vec4f, g: vec4f) -> vec4f {
    return held_to(g + hyper.weight_decay * p, NORMABLE);
}

// The parameters and the gradient with its penalty.
fn measure(p: vec4f, g: vec4f, s: ptr<function, State>) -> Measured {
    return Measured(p, decayed(p, g));
}

// 1 if there is nothing to compare.
fn ratio(norms: vec2f) -> f32 {
    let trust = hyper.trust_coefficient * norms.x / (norms.y + hyper.eps);
    return select(trust, 1.0, norms.x == 0.0 || norms.y == 0.0);
}

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>, ratio: f32) -> vec4f {
    let scaled = hyper.inside * (ratio * decayed(p, g));
    var direction = scaled;
    if hyper.momentum != 0.0 {
        let buffer = hyper.momentum * (*s).momentum_buffer + scaled;
        (*s).momentum_buffer = buffer;
        direction = buffer;
        if hyper.nesterov != 0u {
            direction = scaled + hyper.momentum * buffer;
        }
    }
    return p - hyper.outside * direction;
}
