// The first largest of numbers, where NaN is larger than all others, as in torch's argmax.

// Ranks and places in four lanes. A rank is at least 1; 0 is a lane without numbers.
struct Best {
    rank: vec4u,
    place: vec4u,
}

// A number for each f32 that is larger where that is, and the same for both zeros and for all NaN.
fn rank_of(x: vec4f) -> vec4u {
    let bits = bitcast<vec4u>(x);
    let magnitude = bits & vec4u(0x7fffffffu);
    let rank = select(vec4u(0x80000000u) + magnitude, vec4u(0x80000000u) - magnitude, bits != magnitude);
    return select(rank, vec4u(0xffffffffu), magnitude > vec4u(0x7f800000u));
}

// Of equals the one with the smaller place.
fn better(a: Best, b: Best) -> Best {
    let second = (b.rank > a.rank) | ((b.rank == a.rank) & (b.place < a.place));
    return Best(select(a.rank, b.rank, second), select(a.place, b.place, second));
}

// In all lanes.
fn best_lane(best: Best) -> Best {
    let pairs = better(best, Best(best.rank.yxwz, best.place.yxwz));
    return better(pairs, Best(pairs.rank.zwxy, pairs.place.zwxy));
}

// The four classes from `4 * quad` on.
fn best_of_quad(x: vec4f, quad: u32, classes: u32) -> Best {
    let place = vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u);
    return Best(select(vec4u(0u), rank_of(x), place < vec4u(classes)), place);
}
