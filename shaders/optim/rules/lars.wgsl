// Lars: momentum on gradients that are as long in each tensor as a share of its parameters. You et al. 2017,
// arXiv:1708.03888, Alg. 1.

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

// Squares of the parameters and of the gradient with its penalty.
fn measure(p: vec4f, g: vec4f, s: ptr<function, State>) -> Measured {
    return Measured(squared(p), squared(g + hyper.weight_decay * p));
}

// 1 where there is nothing to compare.
fn ratio(sums: vec2f) -> f32 {
    let trust = hyper.trust_coefficient * sqrt(sums.x) / (sqrt(sums.y) + hyper.eps);
    return select(trust, 1.0, sums.x == 0.0 || sums.y == 0.0);
}

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>, ratio: f32) -> vec4f {
    let scaled = hyper.inside * (ratio * (g + hyper.weight_decay * p));
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
