// The gate gradients of an LSTM, and the gradient of the cell state before this step.
@group(0) @binding(4) var<storage, read> saved: array<vec4f>;
@group(0) @binding(5) var<storage, read> cells: array<vec4f>;
// The gradient of the cell state after this step; overwritten with that before this step.
@group(0) @binding(6) var<storage, read_write> carry: array<vec4f>;

fn finish(sample: u32, quad: u32, dh: vec4f) {
    let quads = PITCH / 4u;
    let first = (shape.row + sample * shape.row_stride) * PITCH + quad * 4u;
    let kept = transpose(mat4x4f(saved[first], saved[first + 1u], saved[first + 2u], saved[first + 3u]));
    let i = kept[0];
    let f = kept[1];
    let g = kept[2];
    let o = kept[3];
    let before = cells[(shape.cell_row + sample) * quads + quad];
    let curved = bent(cells[(shape.next_cell_row + sample) * quads + quad]);
    let at = sample * quads + quad;
    let dc = carry[at] + dh * o * (vec4f(1.0) - curved * curved);
    carry[at] = dc * f;
    store_gate(sample, quad, 0u, dc * g * (i * (vec4f(1.0) - i)));
    store_gate(sample, quad, 1u, dc * before * (f * (vec4f(1.0) - f)));
    store_gate(sample, quad, 2u, dc * i * (vec4f(1.0) - g * g));
    store_gate(sample, quad, 3u, dh * curved * (o * (vec4f(1.0) - o)));
}
