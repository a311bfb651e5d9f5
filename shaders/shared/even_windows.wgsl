// Windows that divide TAKEN elements as evenly as possible into MADE pieces, in lowest terms: piece i covers floor(i
// * TAKEN / MADE) to ceil((i + 1) * TAKEN / MADE), so neighbouring pieces can share one element. The pieces that
// contain an element follow from the same rule with both numbers swapped.
fn range_of(place: u32, taken: u32, made: u32) -> vec2u {
    return vec2u(place * taken / made, ((place + 1u) * taken - 1u) / made + 1u);
}
