// Rprop. Riedmiller & Braun 1993, ICNN, in the form of torch.

struct Hyper { eta_minus: f32, eta_plus: f32, step_size_min: f32, step_size_max: f32 }
struct State { prev: vec4f, step_size: vec4f }

fn rule(p: vec4f, g: vec4f, s: ptr<function, State>) -> vec4f {
    // Signs, because the product of two small gradients would be zero.
    let turn = sign_of(g) * sign_of((*s).prev);
    let turned = turn < vec4f();
    var factor = select(vec4f(1.0), vec4f(hyper.eta_plus), turn > vec4f());
    factor = select(factor, vec4f(hyper.eta_minus), turned);
    let old = (*s).step_size;
    let size = clamp(old * factor, vec4f(hyper.step_size_min), vec4f(hyper.step_size_max));
    // Only padding has a size of zero.
    (*s).step_size = select(size, vec4f(), old == vec4f());
    (*s).prev = select(g, vec4f(), turned);
    return p - sign_of((*s).prev) * (*s).step_size;
}
