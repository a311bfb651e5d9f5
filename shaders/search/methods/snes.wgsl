// Separable natural evolution strategy (Schaul, Glasmachers and Schmidhuber 2011, Alg. 2; Wierstra et al. 2014, Alg. 6).
// `state`: mean, widths, weights by rank, then the normal numbers of the generation, in columns.
struct Hyper {
    mean_rate: f32,
    width_rate: f32,
}

const NORMAL = 1u;

fn weight(member: u32) -> f32 {
    return held(2u * run.dimensions + ranks[member]);
}

fn noise_at(member: u32, dimension: u32) -> u32 {
    return 2u * run.dimensions + run.members + dimension * run.members + member;
}

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    let z = normal_of(element, NORMAL);
    hold(noise_at(member, dimension), z);
    points[element] = inside(held(dimension) + held(run.dimensions + dimension) * z, dimension);
}

fn follow_term(member: u32, dimension: u32) -> vec2f {
    let z = held(noise_at(member, dimension));
    return weight(member) * vec2f(z, z * z - 1.0);
}

fn follow(dimension: u32, sum: vec2f) {
    let width = held(run.dimensions + dimension);
    hold(dimension, held(dimension) + hyper.mean_rate * width * sum.x);
    let grown = width * exp(clamp(0.5 * hyper.width_rate * sum.y, -2.0, 2.0));
    hold(run.dimensions + dimension, clamp(grown, 1e-10, 1e10));
}
