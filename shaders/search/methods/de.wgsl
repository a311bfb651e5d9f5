// Differential evolution (Storn and Price 1997). `state` is the parents, in columns, then their keys, twice: a generation
// reads one half and writes the other.
struct Hyper {
    strategy: u32,
    two_points: u32,
    crossover: f32,
    f1: f32,
    f2: f32,
    starts: u32,
}

const PARENTS = 1u;
const GENES = 2u;
const CUTS = 3u;

const CURRENT_TO_BEST = 0u;
const BEST_1 = 1u;

fn parent(member: u32, dimension: u32) -> f32 {
    return held(dimension * run.members + member);
}

// Whether the trial keeps its parent's value: all but one do where the rate of crossover is 0.
fn keeps(member: u32, dimension: u32) -> bool {
    let words = words_of(member, CUTS);
    let own = below(words.x, run.dimensions);
    if hyper.two_points == 0u || run.dimensions < 4u {
        let gene = uniform_of(dimension * run.members + member, GENES).x;
        return dimension != own && gene >= hyper.crossover;
    }
    // Two different cuts among the places between and around dimensions, which do not take all of them.
    let first = below(words.x, run.dimensions + 1u);
    var second = below(words.y, run.dimensions);
    second += u32(second >= first);
    var low = min(first, second);
    var high = max(first, second);
    if low == 0u && high == run.dimensions {
        let middle = 1u + below(words.z, run.dimensions - 1u);
        low = select(low, middle, (words.w & 2u) != 0u);
        high = select(middle, high, (words.w & 2u) != 0u);
    }
    let is_between = dimension >= low && dimension < high;
    return is_between == ((words.w & 1u) != 0u);
}

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    if progress[GENERATION] == 0u {
        let first = held(run.members * (run.dimensions + 2u) + dimension);
        points[element] = select(anywhere(element, dimension, GENES), first, hyper.starts != 0u && member == 0u);
        return;
    }
    let own = parent(member, dimension);
    if keeps(member, dimension) {
        points[element] = own;
        return;
    }
    // Three different others.
    let words = words_of(member, PARENTS);
    var a = below(words.x, run.members - 1u);
    a += u32(a >= member);
    var b = below(words.y, run.members - 2u);
    let low = min(a, member);
    let high = max(a, member);
    b += u32(b >= low);
    b += u32(b >= high);
    let difference = parent(a, dimension) - parent(b, dimension);
    let best = best_point(dimension);
    var donor = own + hyper.f1 * difference + hyper.f2 * (best - own);
    if hyper.strategy == BEST_1 {
        donor = best + hyper.f1 * difference;
    } else if hyper.strategy != CURRENT_TO_BEST {
        var c = below(words.z, run.members - 3u);
        let middle = max(low, min(b, high));
        c += u32(c >= min(low, b));
        c += u32(c >= middle);
        c += u32(c >= max(high, b));
        donor = parent(c, dimension) + hyper.f1 * difference;
    }
    points[element] = clipped(donor, dimension);
}

fn choose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    let half = run.members * run.dimensions;
    let generation = progress[GENERATION];
    let old = state[half + (generation & 1u) * run.members + member];
    let key = keys[member];
    let takes = generation == 1u || (key <= old && key != NAN_KEY);
    if takes {
        hold(element, points[element]);
    }
    if dimension == 0u {
        state[half + (1u - (generation & 1u)) * run.members + member] = select(old, key, takes);
    }
}
