// The LSTM cell: input gate, forget gate, candidate and output gate, in torch's order.
@group(0) @binding(6) var<storage, read_write> cells: array<f32>;
// The four gates of each unit, saved for the backward pass.
@group(0) @binding(7) var<storage, read_write> saved: array<vec4f>;

fn finish(sample: u32, unit: u32, sum: vec4f) {
    let x = sum + input_of(sample, unit);
    let opened = gate_of(x);
    let candidate = bent(vec4f(x.z)).x;
    let before = cells[(shape.cell_row + sample) * PITCH + unit];
    let cell = opened.y * before + opened.x * candidate;
    let state = opened.w * bent(vec4f(cell)).x;
    let inside = unit < HIDDEN;
    cells[(shape.next_cell_row + sample) * PITCH + unit] = select(0.0, cell, inside);
    if SAVE == 1u {
        let all = vec4f(opened.x, opened.y, candidate, opened.w);
        saved[saved_at(sample, unit)] = select(vec4f(), all, inside);
    }
    store_state(sample, unit, state);
}
