// SGD with momentum, dampening and Nesterov's step, as torch.optim.SGD has them.

// keep and take are 0 and 1 when the buffer is used for the first time, so that it starts as the gradient.
struct Hyper { momentum: f32, keep: f32, take: f32, weight_decay: f32, nesterov: u32 }
struct State { momentum_buffer: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    var direction = g + hyper.weight_decay * p;
    if hyper.momentum != 0.0 {
        let buffer = hyper.keep * (*s).momentum_buffer + hyper.take * direction;
        (*s).momentum_buffer = buffer;
        if hyper.nesterov != 0u {
            direction += hyper.momentum * buffer;
        } else {
            direction = buffer;
        }
    }
    return p - call.lr * direction;
}
