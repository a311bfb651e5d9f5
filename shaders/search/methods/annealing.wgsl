// Simulated annealing (Kirkpatrick, Gelatt and Vecchi 1983), a chain for each member. `state`: where each chain is, in
// columns, then its keys, twice, as in `de.wgsl`, then the first temperature.
struct Hyper {
    cooling: f32,
    sigma: f32,
    narrowing: f32,
    temperature: f32,
    starts: u32,
}

const STEP = 1u;
const ACCEPT = 2u;

fn temperature_at() -> u32 {
    return run.members * (run.dimensions + 2u);
}

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    let generation = progress[GENERATION];
    if generation == 0u {
        let first = held(temperature_at() + 1u + dimension);
        points[element] = select(anywhere(element, dimension, STEP), first, hyper.starts != 0u && member == 0u);
        return;
    }
    let width = max(hyper.sigma * exp(-hyper.narrowing * f32(generation)), 1e-7);
    points[element] = inside(held(element) + width * normal_of(element, STEP), dimension);
}

// Of each member that has a loss, the loss and its square, less the first's: their spread is the first temperature,
// unless one is given.
fn warm_count() -> u32 {
    return run.members;
}

fn warm_term(member: u32) -> vec2f {
    let key = keys[member];
    // Infinities are left out as well.
    if key >= 0xff800000u || key <= 0x007fffffu || progress[BEST_KEY] >= 0xff800000u || progress[BEST_KEY] <= 0x007fffffu {
        return vec2f();
    }
    return vec2f(1.0, min(loss_of(key) - loss_of(progress[BEST_KEY]), 1e37));
}

fn warm(sum: vec2f) {
    let spread = sum.y / max(sum.x, 1.0);
    hold(temperature_at(), select(spread, hyper.temperature, hyper.temperature > 0.0));
}

fn accept(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    let keys_at = run.members * run.dimensions;
    let generation = progress[GENERATION];
    let old = state[keys_at + (generation & 1u) * run.members + member];
    let key = keys[member];
    var takes = generation == 1u || (key <= old && key != NAN_KEY);
    if !takes && key < 0xff800000u {
        let temperature = held(temperature_at()) * exp(-hyper.cooling * f32(generation));
        let chance = uniform_of(member, ACCEPT).x;
        takes = chance < exp(-(loss_of(key) - loss_of(old)) / max(temperature, 1e-37));
    }
    if takes {
        hold(element, points[element]);
    }
    if dimension == 0u {
        state[keys_at + (1u - (generation & 1u)) * run.members + member] = select(old, key, takes);
    }
}
