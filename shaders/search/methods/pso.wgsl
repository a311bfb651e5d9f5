// Particle swarm (Kennedy and Eberhart 1995), with the constants of SPSO 2011 (Zambrano-Bigiarini, Clerc and Rojas 2013).
// Positions are the points. `state`: velocities, each particle's best points, then keys of these, twice, as in `de.wgsl`.
struct Hyper {
    omega: f32,
    phip: f32,
    phig: f32,
    starts: u32,
}

const START = 1u;
const SPEED = 2u;
const PULLS = 3u;

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    let population = run.members * run.dimensions;
    let generation = progress[GENERATION];
    if generation == 0u {
        let first = held(2u * population + 2u * run.members + dimension);
        let start = anywhere(element, dimension, START);
        points[element] = select(start, first, hyper.starts != 0u && member == 0u);
        hold(element, 2.0 * uniform_of(element, SPEED).x - 1.0);
        return;
    }
    let x = points[element];
    let key = keys[member];
    let old = state[2u * population + (generation & 1u) * run.members + member];
    let takes = generation == 1u || (key <= old && key != NAN_KEY);
    if dimension == 0u {
        state[2u * population + (1u - (generation & 1u)) * run.members + member] = select(old, key, takes);
    }
    let own = select(held(population + element), x, takes);
    hold(population + element, own);
    let pulls = uniform_of(element, PULLS);
    let towards = hyper.phip * pulls.x * (own - x) + hyper.phig * pulls.y * (best_point(dimension) - x);
    var speed = hyper.omega * held(element) + towards;
    let next = clipped(x + speed, dimension);
    // At a wall a particle turns back at half its speed.
    speed = select(speed, -0.5 * speed, next != x + speed);
    hold(element, speed);
    points[element] = next;
}
