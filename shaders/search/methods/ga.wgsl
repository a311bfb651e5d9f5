// A genetic algorithm: tournaments of `tournament` (Goldberg and Deb 1991), blend crossover (Radcliffe 1991), normal
// mutations, and elites that stay. Without tournaments, parents are drawn from the elites, and children are copies: the
// elitist evolution strategy. `state` is the parents, in columns; `keys` and `ranks` are still theirs.
struct Hyper {
    elites: u32,
    tournament: u32,
    crossover: f32,
    mutation: f32,
    sigma: f32,
    decay: f32,
    starts: u32,
}

const PARENTS = 1u;
const GENES = 2u;
const MUTATION = 3u;

// The best of `tournament` members at random, or an elite.
fn chosen(member: u32, which: u32) -> u32 {
    if hyper.tournament == 0u {
        return ranks[run.members + below(words_of(member, PARENTS).x, hyper.elites)];
    }
    let seed = vec2u(run.seed_low, run.seed_high);
    var best = 0u;
    var words = vec4u();
    for (var round = 0u; round < hyper.tournament; round++) {
        if round % 4u == 0u {
            words = random_words(vec4u(member, PARENTS, progress[GENERATION], 1u + which + round / 2u), seed);
        }
        let other = below(words[round % 4u], run.members);
        best = select(best, other, round == 0u || ranks[other] < ranks[best]);
    }
    return best;
}

fn propose(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    let column = dimension * run.members;
    let generation = progress[GENERATION];
    if generation == 0u {
        let first = held(run.members * run.dimensions + dimension);
        points[element] = select(anywhere(element, dimension, GENES), first, hyper.starts != 0u && member == 0u);
        return;
    }
    if member < hyper.elites {
        points[element] = held(column + ranks[run.members + member]);
        return;
    }
    let couple = random_uniform(words_of(member, MUTATION));
    let genes = words_of(element, GENES);
    let first = held(column + chosen(member, 0u));
    var child = first;
    if couple.x < hyper.crossover {
        child = mix(held(column + chosen(member, 1u)), first, random_uniform(genes).x);
    }
    if couple.y < hyper.mutation {
        // The other two words of the pair that made the normal numbers above are not used twice.
        let width = hyper.sigma * exp(-hyper.decay * f32(generation));
        child += width * random_normal(genes.zwzw).x;
    }
    points[element] = inside(child, dimension);
}

fn keep(member: u32, dimension: u32) {
    let element = dimension * run.members + member;
    hold(element, points[element]);
}
