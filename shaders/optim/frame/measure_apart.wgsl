// Each of some lanes leaves its own norms: barriers are dear on CPU adapters.
const PARTS = LANES;

fn finish(first: u32, count: u32, lane: u32, sums: vec4f) {
    if lane < count {
        parts[first + lane] = norms_of(sums);
    }
}
