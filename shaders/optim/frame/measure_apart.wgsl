// Each lane leaves its own sum: barriers are dear on CPU adapters.
const PARTS = LANES;

fn finish(chunk: u32, lane: u32, total: vec2f) {
    parts[chunk * PARTS + lane] = total;
}
