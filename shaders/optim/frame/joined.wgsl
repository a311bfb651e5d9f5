var<workgroup> lanes: array<vec4f, LANES>;

// The sum over a workgroup, valid in its first lane.
fn joined(lane: u32, total: vec4f) -> vec4f {
    lanes[lane] = total;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            lanes[lane] += lanes[lane + half];
        }
        workgroupBarrier();
    }
    return lanes[0];
}
