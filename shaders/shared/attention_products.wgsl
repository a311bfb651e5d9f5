
// The products of the own rows of KINDs with the others from `first` on. All lanes call it.
fn products_of_KINDs(place: Place, lane: u32, first: u32) -> array<vec4f, 4> {
    let own = at(place.plane, 0u, OWN_SIDES);
    let others = at(place.plane, 0u, OTHER_SIDES);
    var s: array<vec4f, 4>;
    for (var start = 0u; start < SIDE_QUADS; start += 8u) {
        let column = min(start + lane % 8u, SIDE_QUADS - 1u);
        #for i in 0..4
        let row_$i = lane / 8u + 8u * $i;
        let to_$i = lane % 8u * COLUMN + staged_at(row_$i);
        staged[to_$i] = own_KINDs[own + min(place.row + row_$i, OWN - 1u) * OWN_SIDES.w + column];
        staged[8u * COLUMN + to_$i] = other_KINDs[others + min(first + row_$i, OTHER - 1u) * OTHER_SIDES.w + column];
        #end
        workgroupBarrier();
        for (var q = 0u; q < min(8u, SIDE_QUADS - start); q++) {
            #for i in 0..4
            let a_$i = staged[q * COLUMN + 8u * $i + lane / 8u];
            let b_$i = staged[(8u + q) * COLUMN + 8u * $i + lane % 8u];
            #end
            #for i in 0..4
            #for j in 0..4
            s[$i][$j] = product(a_$i, b_$j, s[$i][$j]);
            #end
            #end
        }
        workgroupBarrier();
    }
    return s;
}
