// Shared by all kernels of a rule: the uniforms of a dispatch, and arithmetic functions.

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
// The smallest normal number: avoids 0 / 0, which would make padding NaN if eps is 0.
const TINY = vec4f(1.1754944e-38);
const LARGEST = vec4f(3.4028234e38);

// A running average after the value x, where beta of the average stays. Around the nearer end, as torch's lerp,
// so that neither end is lost to rounding.
fn averaged(average: vec4f, x: vec4f, beta: f32, one_minus_beta: f32) -> vec4f {
    let change = x - average;
    return select(average + one_minus_beta * change, x - beta * change, one_minus_beta > 0.5);
}

// The same of values whose difference may be above the largest number, as that of opposite gradients that are not held:
// by half of it, which rounds alike.
fn averaged_apart(average: vec4f, x: vec4f, beta: f32, one_minus_beta: f32) -> vec4f {
    let half = 0.5 * x - 0.5 * average;
    return select(average + (2.0 * one_minus_beta) * half, x - (2.0 * beta) * half, one_minus_beta > 0.5);
}

// Clamped to the largest number, because an infinite average would never recover.
fn squared(x: vec4f) -> vec4f {
    return min(x * x, LARGEST);
}

// Bits of 1.8e19, of which f32 has the square with a little to spare for corrections, and of 2^56, of which it has the sum
// of 65,536 squares.
const SQUARABLE = 0x5f79ccd9u;
const SUMMABLE = 0x5b800000u;

// A gradient as rules have it that square it: in its average and in its square alike, so that steps have the length
// that they would have if squares did not overflow. Keeps infinities and NaN, by their bits, because compilers may take
// it for granted that there are none.
fn held_to(x: vec4f, most: u32) -> vec4f {
    let bits = bitcast<vec4u>(x);
    let size = bits & vec4u(0x7fffffffu);
    let over = size - vec4u(most + 1u) < vec4u(0x7f7fffffu - most);
    return select(x, bitcast<vec4f>((bits & vec4u(0x80000000u)) | vec4u(most)), over);
}

// The root of an average of squares. Where squares are below the normal numbers, which devices may take for zero, it is
// the smallest that they could have had, so that no step is longer than it should be, or, on a device that does so, than the
// first one would be. Of a negative one it is NaN.
fn moment_root(x: vec4f) -> vec4f {
    return sqrt(select(x, TINY, abs(x) < TINY));
}

// Clamps to the largest numbers, because an infinite direction times a ratio of zero would be NaN. Keeps NaN.
fn held(x: vec4f) -> vec4f {
    return select(select(x, LARGEST, x > LARGEST), -LARGEST, x < -LARGEST);
}

// Zero for zero. Keeps NaN, which `sign` need not.
fn sign_of(x: vec4f) -> vec4f {
    return select(select(x, vec4f(-1.0), x < vec4f()), vec4f(1.0), x > vec4f());
}

// Keeps NaN, which `max` need not.
fn at_least_tiny(x: vec4f) -> vec4f {
    return select(x, TINY, x < TINY);
}

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<uniform> hyper: Hyper;
@group(0) @binding(2) var<uniform> gate: Gate;

// The rule's gradient: after the fused transforms, and negated if the rule maximizes.
fn gradient(raw: vec4f, p: vec4f, at: u32) -> vec4f {
    let g = transformed(raw * (gate.grad_scale * call.scale) * gate.grad_rescale, p, at);
    return select(g, -g, (call.flags & MAXIMIZE) != 0u);
}
