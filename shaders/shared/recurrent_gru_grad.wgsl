// The gate gradients of a GRU: for the state products, and for the input products, which differ in the candidate.
@group(0) @binding(4) var<storage, read> saved: array<vec4f>;
@group(0) @binding(5) var<storage, read> states: array<vec4f>;
// The part of the gradient of the previous state that bypasses the gates.
@group(0) @binding(6) var<storage, read_write> carry: array<vec4f>;
@group(0) @binding(7) var<storage, read_write> input_grads: array<f32>;

fn store_input(sample: u32, quad: u32, gate: u32, value: vec4f) {
    let at = gate_at(sample, quad, gate);
    #for j in 0..4
    if HIDDEN % 4u == 0u || quad * 4u + $j < HIDDEN {
        input_grads[at + $j] = value[$j];
    }
    #end
    if quad + gate == 0u {
        #for j in 0..PADDING
        input_grads[at + GATES * HIDDEN + $j] = 0.0;
        #end
    }
}

fn finish(sample: u32, quad: u32, from_gates: vec4f) {
    let row = shape.row + sample * shape.row_stride;
    let first = row * PITCH + quad * 4u;
    let kept = transpose(mat4x4f(saved[first], saved[first + 1u], saved[first + 2u], saved[first + 3u]));
    let r = kept[0];
    let z = kept[1];
    let n = kept[2];
    let before = states[row * (PITCH / 4u) + quad];
    let at = sample * (PITCH / 4u) + quad;
    let dh = from_gates + carry[at];
    carry[at] = dh * z;
    let dn = dh * (vec4f(1.0) - z) * (vec4f(1.0) - n * n);
    let dz = dh * (before - n) * (z * (vec4f(1.0) - z));
    let dr = dn * kept[3] * (r * (vec4f(1.0) - r));
    store_gate(sample, quad, 0u, dr);
    store_gate(sample, quad, 1u, dz);
    store_gate(sample, quad, 2u, dn * r);
    store_input(sample, quad, 0u, dr);
    store_input(sample, quad, 1u, dz);
    store_input(sample, quad, 2u, dn);
}
