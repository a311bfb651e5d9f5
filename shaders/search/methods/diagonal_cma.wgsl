// Separable CMA-ES (Ros and Hansen 2008): a covariance without covariances. `state`: for each dimension the mean, the
// variance, the two evolution paths, and the weighted sum of the generation; the step size; weights by rank; then the
// normal numbers of the generation, in columns.
struct Hyper {
    c_sigma: f32,
    d_sigma: f32,
    c_c: f32,
    c_1: f32,
    c_mu: f32,
    mu_eff: f32,
    expected_norm: f32,
    threshold: f32,
    log_keep: f32,
}

const NORMAL = 1u;
const VARIANCE = 1u;
const PATH_SIGMA = 2u;
const PATH_C = 3u;
const SUM = 4u;
const SUM_SQUARES = 5u;
const PARTS = 6u;

fn at(part: u32, dimension: u32) -> u32 {
    return part * run.dimensions + dimension;
}

fn sigma_at() -> u32 {
    return PARTS * run.dimensions;
}

fn noise_at(member: u32, dimension: u32) -> u32 {
    return sigma_at() + 2u + run.members + dimension * run.members + member;
}

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    let z = normal_of(element, NORMAL);
    hold(noise_at(member, dimension), z);
    let width = held(sigma_at()) * sqrt(held(at(VARIANCE, dimension)));
    points[element] = inside(held(dimension) + width * z, dimension);
}

fn gather_term(member: u32, dimension: u32) -> vec2f {
    let z = held(noise_at(member, dimension));
    return held(sigma_at() + 2u + ranks[member]) * vec2f(z, z * z);
}

fn gather(dimension: u32, sum: vec2f) {
    hold(at(SUM, dimension), sum.x);
    hold(at(SUM_SQUARES, dimension), sum.y);
    let path = (1.0 - hyper.c_sigma) * held(at(PATH_SIGMA, dimension));
    hold(at(PATH_SIGMA, dimension), path + sqrt(hyper.c_sigma * (2.0 - hyper.c_sigma) * hyper.mu_eff) * sum.x);
}

fn settle_count() -> u32 {
    return run.dimensions;
}

fn settle_term(dimension: u32) -> vec2f {
    let path = held(at(PATH_SIGMA, dimension));
    return vec2f(path * path, 0.0);
}

fn settle(sum: vec2f) {
    let norm = sqrt(sum.x);
    let unbiased = norm / sqrt(1.0 - exp(hyper.log_keep * f32(progress[GENERATION])));
    // The path of the covariance stalls while steps grow fast. The next stage reads this and the former step size.
    let sigma = held(sigma_at());
    hold(sigma_at() + 1u, select(-sigma, sigma, unbiased < hyper.threshold));
    let grown = sigma * exp(clamp(hyper.c_sigma / hyper.d_sigma * (norm / hyper.expected_norm - 1.0), -1.0, 1.0));
    hold(sigma_at(), clamp(grown, 1e-10, 1e10));
}

fn follow_of(dimension: u32) {
    let former = held(sigma_at() + 1u);
    let goes = f32(former > 0.0);
    let variance = held(at(VARIANCE, dimension));
    let root = sqrt(variance);
    let y = root * held(at(SUM, dimension));
    let step = sqrt(hyper.c_c * (2.0 - hyper.c_c) * hyper.mu_eff);
    let path = (1.0 - hyper.c_c) * held(at(PATH_C, dimension)) + goes * step * y;
    hold(at(PATH_C, dimension), path);
    let lost = (1.0 - goes) * hyper.c_c * (2.0 - hyper.c_c);
    let kept = 1.0 + hyper.c_1 * lost - hyper.c_1 - hyper.c_mu;
    let next = kept * variance + hyper.c_1 * path * path + hyper.c_mu * variance * held(at(SUM_SQUARES, dimension));
    hold(at(VARIANCE, dimension), clamp(next, 1e-20, 1e20));
    hold(dimension, held(dimension) + abs(former) * y);
}
