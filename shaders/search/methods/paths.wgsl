// The evolution paths and the step size of CMA-ES (Hansen, The CMA Evolution Strategy: A Tutorial, 2016), full and
// separable. `state` begins with a row of dimensions for each of the parts below; four words (the step size, the former one,
// and two of the elite), weights by rank and a zero behind them, and what either method has of its own follow.
//
// The elite is the best member of former generations, where it is better than all of this one: it then has the first rank,
// as a member that was injected (Hansen 2011, arXiv:1110.4181), and every other rank is one lower.
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
    period: u32,
    elitist: u32,
    most_norm: f32,
}

const NORMAL = 1u;

// The mean is the first part.
const PATH_SIGMA = 1u;
const PATH_C = 2u;
const SUM = 3u;

fn at(part: u32, dimension: u32) -> u32 {
    return part * run.dimensions + dimension;
}

fn sigma_at() -> u32 {
    return PARTS * run.dimensions;
}

fn weight_of(rank: u32) -> f32 {
    return held(sigma_at() + 4u + rank);
}

fn weight(member: u32) -> f32 {
    return weight_of(ranks[member] + u32(has_elite()));
}

fn own_at() -> u32 {
    return sigma_at() + 5u + run.members;
}

// The generation is over: it has not improved what was best before, if there was anything.
fn has_elite() -> bool {
    return hyper.elitist != 0u && progress[IMPROVED] == 0u && progress[BEST_KEY] != NO_KEY;
}

// Takes over the weighted sum of the normal numbers of a dimension.
fn gathered(dimension: u32, sum: f32) {
    hold(at(SUM, dimension), sum);
    let path = (1.0 - hyper.c_sigma) * held(at(PATH_SIGMA, dimension));
    hold(at(PATH_SIGMA, dimension), path + sqrt(hyper.c_sigma * (2.0 - hyper.c_sigma) * hyper.mu_eff) * sum);
}

fn settle_count() -> u32 {
    return run.dimensions;
}

fn settle_term(dimension: u32) -> vec2f {
    let path = held(at(PATH_SIGMA, dimension));
    let elite = elite(dimension);
    return vec2f(path * path, elite * elite);
}

fn settle(sum: vec2f) {
    let norm = sqrt(sum.x);
    let unbiased = norm / sqrt(1.0 - exp(hyper.log_keep * f32(progress[GENERATION])));
    // The path of the covariance stalls while steps grow fast. The next stage reads this and the former step size.
    let sigma = held(sigma_at());
    hold(sigma_at() + 1u, select(-sigma, sigma, unbiased < hyper.threshold));
    let grown = sigma * exp(clamp(hyper.c_sigma / hyper.d_sigma * (norm / hyper.expected_norm - 1.0), -1.0, 1.0));
    let next = clamp(grown, 1e-10, 1e10);
    hold(sigma_at(), next);
    // The elite stays where it is while the distribution moves on; from farther away than a member may be it counts as one
    // that is as far as that.
    let ratio = sigma / next;
    hold(sigma_at() + 2u, ratio);
    hold(sigma_at() + 3u, min(1.0, hyper.most_norm / max(ratio * sqrt(sum.y), 1e-10)));
}

// How the elite's distance in steps changes as the step does.
fn elite_ratio() -> f32 {
    return held(sigma_at() + 2u);
}

// What the elite's distance is multiplied by where it counts.
fn elite_limit() -> f32 {
    return held(sigma_at() + 3u);
}

fn former_sigma() -> f32 {
    return abs(held(sigma_at() + 1u));
}

fn goes() -> f32 {
    return f32(held(sigma_at() + 1u) > 0.0);
}

// The path of the covariance, one step of `y` on.
fn path_after(dimension: u32, y: f32) -> f32 {
    let step = sqrt(hyper.c_c * (2.0 - hyper.c_c) * hyper.mu_eff);
    return (1.0 - hyper.c_c) * held(at(PATH_C, dimension)) + goes() * step * y;
}

// What a covariance keeps of itself.
fn kept() -> f32 {
    return 1.0 + hyper.c_1 * (1.0 - goes()) * hyper.c_c * (2.0 - hyper.c_c) - hyper.c_1 - hyper.c_mu;
}
