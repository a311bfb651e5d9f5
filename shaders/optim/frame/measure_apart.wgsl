// Each of several lanes writes its own norms, because barriers are slow on CPU adapters.
const PARTS = LANES;

fn finish(first: u32, count: u32, lane: u32, sums: vec4f) {
    if lane < count {
        parts[first + lane] = norms_of(sums);
    }
}
