// The evolution strategy of Salimans et al. 2017 (Alg. 1, with mirrored noise and weights by rank), whose estimate of a
// gradient Adam follows. `state`: mean, Adam's two averages, weights by rank, then the noise, in columns.
struct Hyper {
    sigma: f32,
    lr: f32,
    beta1: f32,
    beta2: f32,
    log_beta1: f32,
    log_beta2: f32,
    weight_decay: f32,
    shrinks: f32,
}

const NORMAL = 1u;

fn noise_at(member: u32, dimension: u32) -> u32 {
    return 3u * run.dimensions + run.members + dimension * run.members + member;
}

fn width() -> f32 {
    return hyper.sigma * exp(-hyper.shrinks * f32(progress[GENERATION]));
}

fn propose(member: u32, dimension: u32) {
    let pairs = run.members / 2u;
    // One without a partner is the mean itself.
    let pair = member % max(pairs, 1u);
    let drawn = normal_of(dimension * run.members + pair, NORMAL);
    let z = select(select(0.0, -drawn, member < 2u * pairs), drawn, member < pairs);
    hold(noise_at(member, dimension), z);
    points[dimension * run.members + member] = inside(held(dimension) + width() * z, dimension);
}

fn follow_term(member: u32, dimension: u32) -> vec2f {
    return vec2f(held(3u * run.dimensions + ranks[member]) * held(noise_at(member, dimension)), 0.0);
}

fn follow(dimension: u32, sum: vec2f) {
    let mean = held(dimension);
    // Weights are positive for low losses, so that the sum points downhill.
    let gradient = hyper.weight_decay * mean - sum.x;
    let m = mix(gradient, held(run.dimensions + dimension), hyper.beta1);
    let v = mix(gradient * gradient, held(2u * run.dimensions + dimension), hyper.beta2);
    hold(run.dimensions + dimension, m);
    hold(2u * run.dimensions + dimension, v);
    let step = f32(progress[GENERATION]);
    let corrected = m / (1.0 - exp(hyper.log_beta1 * step));
    let root = sqrt(v / (1.0 - exp(hyper.log_beta2 * step)));
    let rate = hyper.lr * exp(-hyper.shrinks * step);
    hold(dimension, mean - rate * corrected / (root + 1e-8));
}
