// RMSprop, plain, centered and with momentum. Hinton 2012, lecture 6e; Graves 2013, arXiv:1308.0850, eq. 38 to 45.

struct Hyper {
    alpha: f32,
    one_minus_alpha: f32,
    eps: f32,
    weight_decay: f32,
    momentum: f32,
    centered: u32,
    eps_in_sqrt: u32,
}
struct State { square_avg: vec4f, momentum_buffer: vec4f, grad_avg: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = held_to(g + hyper.weight_decay * p, SQUARABLE);
    (*s).square_avg = averaged((*s).square_avg, squared(gradient), hyper.alpha, hyper.one_minus_alpha);
    var second = (*s).square_avg;
    if hyper.centered != 0u {
        (*s).grad_avg = averaged((*s).grad_avg, gradient, hyper.alpha, hyper.one_minus_alpha);
        // A variance; rounding can take it below zero.
        second = max(second - squared((*s).grad_avg), vec4f());
    }
    var denominator = moment_root(second) + hyper.eps;
    if hyper.eps_in_sqrt != 0u {
        denominator = moment_root(second + hyper.eps);
    }
    var direction = gradient / denominator;
    if hyper.momentum != 0.0 {
        direction += hyper.momentum * (*s).momentum_buffer;
        (*s).momentum_buffer = direction;
    }
    return p - call.lr * direction;
}
