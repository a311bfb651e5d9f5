// Separable CMA-ES (Ros and Hansen 2008): a covariance without covariances, joined with `paths.wgsl`. Further parts are the
// variances and the weighted sums of squares; the normal numbers of the generation follow, in columns.
const VARIANCE = 4u;
const SUM_SQUARES = 5u;
const PARTS = 6u;

fn noise_at(member: u32, dimension: u32) -> u32 {
    return own_at() + dimension * run.members + member;
}

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    let z = normal_of(element, NORMAL);
    hold(noise_at(member, dimension), z);
    let width = held(sigma_at()) * sqrt(held(at(VARIANCE, dimension)));
    points[element] = inside(held(dimension) + width * z, dimension);
}

// It keeps none.
fn elite(dimension: u32) -> f32 {
    return 0.0;
}

fn gather_term(member: u32, dimension: u32) -> vec2f {
    let z = held(noise_at(member, dimension));
    return weight(member) * vec2f(z, z * z);
}

fn gather(dimension: u32, sum: vec2f) {
    gathered(dimension, sum.x);
    hold(at(SUM_SQUARES, dimension), sum.y);
}

fn follow_of(dimension: u32) {
    let variance = held(at(VARIANCE, dimension));
    let y = sqrt(variance) * held(at(SUM, dimension));
    let path = path_after(dimension, y);
    hold(at(PATH_C, dimension), path);
    let squares = hyper.c_1 * path * path + hyper.c_mu * variance * held(at(SUM_SQUARES, dimension));
    hold(at(VARIANCE, dimension), clamp(kept() * variance + squares, 1e-20, 1e20));
    hold(dimension, held(dimension) + former_sigma() * y);
}
