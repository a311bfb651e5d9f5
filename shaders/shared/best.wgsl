// Argmax: the first maximum, where NaN is larger than all numbers, as in torch.

// Ranks and indices in four lanes. Ranks are at least 1; 0 marks a lane without a number.
struct Best {
    rank: vec4u,
    place: vec4u,
}

// Maps f32 to u32 in the same order. Both zeros are equal, and so are all NaN.
fn rank_of(x: vec4f) -> vec4u {
    let bits = bitcast<vec4u>(x);
    let magnitude = bits & vec4u(0x7fffffffu);
    let rank = select(vec4u(0x80000000u) + magnitude, vec4u(0x80000000u) - magnitude, bits != magnitude);
    return select(rank, vec4u(0xffffffffu), magnitude > vec4u(0x7f800000u));
}

// Of equal ranks, the smaller index wins.
fn better(a: Best, b: Best) -> Best {
    let second = (b.rank > a.rank) | ((b.rank == a.rank) & (b.place < a.place));
    return Best(select(a.rank, b.rank, second), select(a.place, b.place, second));
}

// The maximum of the four lanes, in all lanes.
fn best_lane(best: Best) -> Best {
    let pairs = better(best, Best(best.rank.yxwz, best.place.yxwz));
    return better(pairs, Best(pairs.rank.zwxy, pairs.place.zwxy));
}

// The four classes from `4 * quad` on.
fn best_of_quad(x: vec4f, quad: u32, classes: u32) -> Best {
    let place = vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u);
    return Best(select(vec4u(0u), rank_of(x), place < vec4u(classes)), place);
}
