// RMSprop, plain, centered and with momentum. Hinton 2012, lecture 6e; Graves 2013, arXiv:1308.0850, eq. 38 to 45.

// root_scale or, of what is centered, correction holds the bias correction of the averages; otherwise they are 1. eps under
// the root is as large as what it is added to.
struct Hyper {
    alpha: f32,
    one_minus_alpha: f32,
    eps: f32,
    weight_decay: f32,
    root_scale: f32,
    correction: f32,
    momentum: f32,
    nesterov: u32,
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
        second = max(held(hyper.correction * second) - squared(hyper.correction * (*s).grad_avg), vec4f());
    }
    var denominator = hyper.root_scale * moment_root(second) + hyper.eps;
    if hyper.eps_in_sqrt != 0u {
        denominator = hyper.root_scale * moment_root(second + hyper.eps);
    }
    var direction = gradient / denominator;
    if hyper.momentum != 0.0 {
        let buffer = direction + hyper.momentum * (*s).momentum_buffer;
        (*s).momentum_buffer = buffer;
        if hyper.nesterov != 0u {
            direction += hyper.momentum * buffer;
        } else {
            direction = buffer;
        }
    }
    return p - call.lr * direction;
}
