var<workgroup> lanes: array<Part, LANES>;

// Joins the parts of a workgroup in a fixed order; valid in its first lane.
fn lanes_joined(lane: u32, part: Part) -> Part {
    lanes[lane] = part;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            lanes[lane] = norm_joined(lanes[lane], lanes[lane + half]);
        }
        workgroupBarrier();
    }
    return lanes[0];
}
