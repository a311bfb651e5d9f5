// A workgroup writes one pair of norms.
const PARTS = 1u;

fn finish(first: u32, count: u32, lane: u32, sums: vec4f) {
    let whole = joined(lane, sums);
    if lane == 0u {
        parts[first] = norms_of(whole);
    }
}
