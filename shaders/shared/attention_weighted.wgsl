
// Adds the other rows of KINDs from `first` on, times the weights: a tile of SIDE_TILE quads. All lanes call it.
fn add_weighted_KINDs(sums: ptr<function, array<vec4f, SIDE_LANE_SUMS>>, place: Place, lane: u32, first: u32) {
    let others = at(place.plane, 0u, OTHER_SIDES);
    #for c in 0..SIDE_CHUNKS
    #for i in 0..SIDE_LOADS
    {
        let k = lane + 64u * $i;
        let row = min(first + k / SIDE_WIDTH, OTHER - 1u);
        let quad = min(place.tile * SIDE_TILE + $c * SIDE_WIDTH + k % SIDE_WIDTH, SIDE_QUADS - 1u);
        staged[k] = other_KINDs[others + row * OTHER_SIDES.w + quad];
    }
    #end
    workgroupBarrier();
    for (var k = 0u; k < 8u; k++) {
        #for i in 0..4
        let w_$i = weights[(lane / 8u * 4u + $i) * WEIGHTS + k];
        #end
        #for j in 0..4
        #for n in 0..SIDE_LANE_QUADS
        {
            let other = staged[(4u * k + $j) * SIDE_WIDTH + 8u * $n + lane % 8u];
            #for i in 0..4
            (*sums)[($c * SIDE_LANE_QUADS + $n) * 4 + $i] = fma(vec4f(w_$i[$j]), other, (*sums)[($c * SIDE_LANE_QUADS + $n) * 4 + $i]);
            #end
        }
        #end
        #end
    }
    workgroupBarrier();
    #end
}
