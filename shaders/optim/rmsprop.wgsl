// RMSprop, plain, centered and with momentum. Hinton 2012, lecture 6e; Graves 2013, arXiv:1308.0850, eq. 38 to 45.

struct Hyper {
    one_minus_alpha: f32,
    eps: f32,
    weight_decay: f32,
    momentum: f32,
    centered: u32,
    eps_in_sqrt: u32,
}
struct State { square_avg: vec4f, momentum_buffer: vec4f, grad_avg: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = g + hyper.weight_decay * p;
    (*s).square_avg += hyper.one_minus_alpha * (gradient * gradient - (*s).square_avg);
    var second = (*s).square_avg;
    if hyper.centered != 0u {
        (*s).grad_avg += hyper.one_minus_alpha * (gradient - (*s).grad_avg);
        // A variance; rounding can take it below zero.
        second = max(second - (*s).grad_avg * (*s).grad_avg, vec4f());
    }
    var denominator = sqrt(second) + hyper.eps;
    if hyper.eps_in_sqrt != 0u {
        denominator = sqrt(second + hyper.eps);
    }
    var direction = gradient / max(denominator, TINY);
    if hyper.momentum != 0.0 {
        direction += hyper.momentum * (*s).momentum_buffer;
        (*s).momentum_buffer = direction;
    }
    return p - call.lr * direction;
}
