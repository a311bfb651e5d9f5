// CMA-ES with a full covariance, as a lower triangular factor A of it (Suttorp, Hansen and Igel 2009; Krause, Arbones and
// Igel 2016), joined with `paths.wgsl`: members are mean + sigma A z. What a generation teaches of the covariance is told in
// z, where it was the identity: M = keep I + c_1 q q^T + c_mu sum(w z z^T), q = A^-1 p_c. After each period A becomes A L
// where M = L L^T, q becomes L^-1 q and M the identity. M is never far from it, however narrow the covariance, so that f32
// is enough; and nothing else is inverted.
//
// The part PATH_C is q. The elite is told in z as well: its part becomes L^-1 of itself like q. Behind the weights: two copies
// of A, M, by columns, and the normal numbers of the generation.
const ELITE = 4u;
// The elite as it counts in this generation: 0 where there is none.
const COUNTED = 5u;
const PARTS = 6u;
const MOST_DIMENSIONS = 304u;

fn cells() -> u32 {
    return run.dimensions * run.dimensions;
}

// A has moved so many times before a generation, and lies in one copy, then in the other.
fn factor_at(generation: u32) -> u32 {
    return own_at() + (generation / hyper.period % 2u) * cells();
}

fn learned_at(row: u32, column: u32) -> u32 {
    return own_at() + 2u * cells() + column * run.dimensions + row;
}

fn noise_at(member: u32, dimension: u32) -> u32 {
    return own_at() + 3u * cells() + dimension * run.members + member;
}

fn draw(member: u32, dimension: u32) {
    hold(noise_at(member, dimension), normal_of(dimension * run.members + member, NORMAL));
}

fn propose(member: u32, dimension: u32) {
    let from_at = factor_at(progress[GENERATION]);
    var sum = 0.0;
    for (var other = 0u; other <= dimension; other++) {
        sum += held(from_at + other * run.dimensions + dimension) * held(noise_at(member, other));
    }
    points[dimension * run.members + member] = inside(held(dimension) + held(sigma_at()) * sum, dimension);
}

fn elite(dimension: u32) -> f32 {
    return held(at(ELITE, dimension));
}

// With the numbers of the best member.
fn gather_term(member: u32, dimension: u32) -> vec2f {
    let z = held(noise_at(member, dimension));
    return vec2f(weight(member) * z, select(0.0, z, ranks[member] == 0u));
}

fn gather(dimension: u32, sums: vec2f) {
    let counted = select(0.0, elite_limit() * elite(dimension), has_elite());
    hold(at(COUNTED, dimension), counted);
    let sum = sums.x + weight_of(0u) * counted;
    gathered(dimension, sum);
    // From the mean that the next generation has.
    hold(at(ELITE, dimension), select(elite(dimension), sums.y, progress[IMPROVED] != 0u) - sum);
}

// The generation is over: its number is that of the next.
fn follow_of(dimension: u32) {
    hold(at(ELITE, dimension), elite_ratio() * elite(dimension));
    hold(at(PATH_C, dimension), path_after(dimension, held(at(SUM, dimension))));
    let from_at = factor_at(progress[GENERATION] - 1u);
    var y = 0.0;
    for (var other = 0u; other <= dimension; other++) {
        y += held(from_at + other * run.dimensions + dimension) * held(at(SUM, other));
    }
    hold(dimension, held(dimension) + former_sigma() * y);
}

// Beyond the last dimension the last one's, which nothing takes.
fn noises(member: u32, first: u32) -> vec4f {
    let last = run.dimensions - 1u;
    return vec4f(
        held(noise_at(member, first)),
        held(noise_at(member, min(first + 1u, last))),
        held(noise_at(member, min(first + 2u, last))),
        held(noise_at(member, min(first + 3u, last))),
    );
}

fn learn_row(member: u32, first: u32) -> vec4f {
    return noises(member, first);
}

fn learn_column(member: u32, first: u32) -> vec4f {
    return weight(member) * noises(member, first);
}

fn learn(row: u32, column: u32, sum: f32) {
    var before = held(learned_at(row, column));
    if (progress[GENERATION] - 1u) % hyper.period == 0u {
        before = f32(row == column);
    }
    let path = held(at(PATH_C, row)) * held(at(PATH_C, column));
    let all = sum + weight_of(0u) * held(at(COUNTED, row)) * held(at(COUNTED, column));
    hold(learned_at(row, column), kept() * before + hyper.c_1 * path + hyper.c_mu * all);
}

var<workgroup> columns: array<f32, 2u * MOST_DIMENSIONS>;
// The path and the elite.
var<workgroup> vectors: array<vec2f, MOST_DIMENSIONS>;

fn reduce(row: u32, column: u32, column_at: u32, amount: f32) {
    if row < run.dimensions {
        let place = learned_at(row, column);
        hold(place, held(place) - amount * columns[column_at + row]);
    }
}

// Makes L of M, and L^-1 q of q and of the elite, column by column (Cholesky). An element of M belongs to one lane, by its row and its column
// modulo 16; what others need of a column goes through one of two copies, so that a step has one barrier.
fn factor(lane: u32) {
    let own_row = lane % 16u;
    let own_column = lane / 16u;
    for (var row = lane; row < run.dimensions; row += 256u) {
        vectors[row] = vec2f(held(at(PATH_C, row)), elite(row));
    }
    for (var step = 0u; step < run.dimensions; step++) {
        let column_at = step % 2u * MOST_DIMENSIONS;
        let first = step + (own_row + 16u - step % 16u) % 16u;
        let is_own = own_column == step % 16u;
        if is_own {
            for (var row = first; row < run.dimensions; row += 16u) {
                columns[column_at + row] = held(learned_at(row, step));
            }
        }
        workgroupBarrier();
        let pivot = max(columns[column_at + step], 1e-10);
        let scale = inverseSqrt(pivot);
        let along = vectors[step] * scale;
        if is_own {
            for (var row = first; row < run.dimensions; row += 16u) {
                hold(learned_at(row, step), columns[column_at + row] * scale);
            }
        }
        let second = step + 1u + (own_column + 15u - step % 16u) % 16u;
        for (var column = second; column < run.dimensions; column += 16u) {
            let amount = columns[column_at + column] / pivot;
            let below = column + (own_row + 16u - column % 16u) % 16u;
            for (var row = below; row < run.dimensions; row += 64u) {
                reduce(row, column, column_at, amount);
                reduce(row + 16u, column, column_at, amount);
                reduce(row + 32u, column, column_at, amount);
                reduce(row + 48u, column, column_at, amount);
            }
        }
        for (var row = lane; row < run.dimensions; row += 256u) {
            if row == step {
                hold(at(PATH_C, step), along.x);
                hold(at(ELITE, step), along.y);
            } else if row > step {
                vectors[row] -= columns[column_at + row] * scale * along;
            }
        }
    }
}

// An element of A L, in the other copy.
fn turn(row: u32, column: u32) {
    if row < column {
        return;
    }
    let from_at = factor_at(progress[GENERATION] - 1u);
    var sum = 0.0;
    for (var other = column; other <= row; other++) {
        sum += held(from_at + other * run.dimensions + row) * held(learned_at(other, column));
    }
    let least = select(-1e10, 1e-10, row == column);
    hold(factor_at(progress[GENERATION]) + column * run.dimensions + row, clamp(sum, least, 1e10));
}
