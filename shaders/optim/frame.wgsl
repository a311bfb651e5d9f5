// Applies `rule` to four neighbouring elements an invocation: loads, calls, stores.

struct Call {
    first: u32,
    len: u32,
    lr: f32,
    flags: u32,
    scale: f32,
    clip_value: f32,
    l1: f32,
    l2: f32,
    noise: f32,
    element: u32,
    seed_low: u32,
    seed_high: u32,
    step_low: u32,
    step_high: u32,
}

const MAXIMIZE = 1u;
// The smallest normal number: keeps 0 / 0 from making padding NaN where eps is 0.
const TINY = vec4f(1.1754944e-38);
const LARGEST = vec4f(3.4028235e38);

// A running average after the value x, where beta of the average stays. Around the nearer end, as torch's lerp,
// so that neither end is lost to rounding.
fn averaged(average: vec4f, x: vec4f, beta: f32, one_minus_beta: f32) -> vec4f {
    let change = x - average;
    return select(average + one_minus_beta * change, x - beta * change, one_minus_beta > 0.5);
}

// Held at the largest number: an infinite average would never come back.
fn squared(x: vec4f) -> vec4f {
    return min(x * x, LARGEST);
}

// Of zero it is zero. Keeps a NaN, which `sign` need not.
fn sign_of(x: vec4f) -> vec4f {
    return select(select(x, vec4f(-1.0), x < vec4f()), vec4f(1.0), x > vec4f());
}

// Keeps a NaN, which `max` need not.
fn at_least_tiny(x: vec4f) -> vec4f {
    return select(x, TINY, x < TINY);
}

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<uniform> hyper: Hyper;
@group(0) @binding(2) var<uniform> gate: Gate;
@group(0) @binding(3) var<storage, read_write> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (group.y * groups.x + group.x) * 256u + lane;
    if index >= call.len || gate.skip != 0u {
        return;
    }
    let at = call.first + index;
    let p = params[at];
    var g = transformed(grads[at] * (gate.grad_scale * call.scale), p, at);
    if (call.flags & MAXIMIZE) != 0u {
        g = -g;
    }
    var state = load(at);
    params[at] = rule(p, g, &state);
    store(at, state);
}
