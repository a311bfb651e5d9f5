// The gradients of the sums of a plain recurrent layer. With RELU, the derivative is 1 above 0 and 0 at 0.
@group(0) @binding(4) var<storage, read> results: array<vec4f>;

fn finish(sample: u32, quad: u32, dh: vec4f) {
    let y = results[(shape.row + sample * shape.row_stride) * (PITCH / 4u) + quad];
    if RELU == 1u {
        store_gate(sample, quad, 0u, select(dh, vec4f(), y <= vec4f()));
    } else {
        store_gate(sample, quad, 0u, dh * (vec4f(1.0) - y * y));
    }
}
