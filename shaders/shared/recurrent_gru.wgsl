// The cell of a GRU: reset gate, update gate and candidate, as torch orders them; the reset gate stands before the
// products of the states with their bias.
//
// Both gates, the candidate and those products of each unit, for the backward pass.
@group(0) @binding(6) var<storage, read_write> saved: array<vec4f>;

fn finish(sample: u32, unit: u32, sum: vec4f) {
    let input = input_of(sample, unit);
    let opened = gate_of(sum + input);
    let candidate = bent(vec4f(input.z + opened.x * sum.z)).x;
    let before = state_before(sample, unit);
    if SAVE == 1u {
        let all = vec4f(opened.x, opened.y, candidate, sum.z);
        saved[saved_at(sample, unit)] = select(vec4f(), all, unit < HIDDEN);
    }
    store_state(sample, unit, candidate + opened.y * (before - candidate));
}
