var<workgroup> lanes: array<vec2u, LANES>;

// A partial norm, and whether something was not finite, over a workgroup in a fixed order; of use in its first lane.
fn lanes_joined(lane: u32, part: vec2u) -> vec2u {
    lanes[lane] = part;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            let other = lanes[lane + half];
            let norm = norm_joined(bitcast<f32>(lanes[lane].x), bitcast<f32>(other.x));
            lanes[lane] = vec2u(bitcast<u32>(norm), lanes[lane].y | other.y);
        }
        workgroupBarrier();
    }
    return lanes[0];
}
