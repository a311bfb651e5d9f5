// Adagrad. Duchi, Hazan & Singer 2011, JMLR 12: the diagonal form.

// step_size is the rate after its decay.
struct Hyper { step_size: f32, eps: f32, weight_decay: f32, eps_in_sqrt: u32 }
struct State { sum: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    let gradient = held_to(g + hyper.weight_decay * p, SUMMABLE);
    let sum = min((*s).sum + squared(gradient), LARGEST);
    (*s).sum = sum;
    var denominator = moment_root(sum) + hyper.eps;
    if hyper.eps_in_sqrt != 0u {
        denominator = moment_root(sum + hyper.eps);
    }
    return p - hyper.step_size * (gradient / denominator);
}
