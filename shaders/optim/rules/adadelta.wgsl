// Adadelta. Zeiler 2012, arXiv:1212.5701, Alg. 1.

struct Hyper { rho: f32, one_minus_rho: f32, eps: f32, weight_decay: f32 }
struct State { square_avg: vec4f, acc_delta: vec4f }

fn root(x: vec4f) -> vec4f {
    return sqrt(min(x + hyper.eps, LARGEST));
}

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = held_to(g + hyper.weight_decay * p, SQUARABLE);
    (*s).square_avg = averaged((*s).square_avg, squared(gradient), hyper.rho, hyper.one_minus_rho);
    // The rate is not in it: it enters the average of updates.
    let direction = root((*s).acc_delta) / at_least_tiny(root((*s).square_avg)) * gradient;
    (*s).acc_delta = averaged((*s).acc_delta, squared(direction), hyper.rho, hyper.one_minus_rho);
    return p - call.lr * direction;
}
