// Windows that cut TAKEN elements as evenly as whole elements can be cut into MADE pieces, in lowest terms: piece i goes
// from floor(i * TAKEN / MADE) to ceil((i + 1) * TAKEN / MADE), so that neighbours may overlap in one element. The pieces
// that hold an element are those of the same rule with both numbers exchanged.
fn range_of(place: u32, taken: u32, made: u32) -> vec2u {
    return vec2u(place * taken / made, ((place + 1u) * taken - 1u) / made + 1u);
}
