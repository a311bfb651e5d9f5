// Sampling of CMA-ES (Hansen, The CMA Evolution Strategy: A Tutorial, 2016, equations 38 to 40). The host moves mean and
// covariance. `state`: mean, the factor of the covariance with the step size in it, by rows, then normal numbers.
struct Hyper { none: u32 }

const NORMAL = 1u;

fn noise_at(member: u32, dimension: u32) -> u32 {
    return run.dimensions * (run.dimensions + 1u) + dimension * run.members + member;
}

fn draw(member: u32, dimension: u32) {
    hold(noise_at(member, dimension), normal_of(dimension * run.members + member, NORMAL));
}

fn propose(member: u32, dimension: u32) {
    var sum = held(dimension);
    let row = run.dimensions * (1u + dimension);
    for (var other = 0u; other < run.dimensions; other++) {
        sum += held(row + other) * held(noise_at(member, other));
    }
    points[dimension * run.members + member] = inside(sum, dimension);
}
