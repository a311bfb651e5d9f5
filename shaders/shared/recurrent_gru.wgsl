// The GRU cell: reset gate, update gate and candidate, in torch's order. The reset gate multiplies the state products
// including their bias.
//
// For the backward pass it saves both gates, the candidate, and the candidate's state product of each unit.
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
