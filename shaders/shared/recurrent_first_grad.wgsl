// The gradient of the initial state of a recurrent layer. With HAS_CARRY, a part of it bypasses the gates.
@group(0) @binding(4) var<storage, read> carry: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> state_grad: array<vec4f>;

fn finish(sample: u32, quad: u32, dh: vec4f) {
    let at = sample * (PITCH / 4u) + quad;
    var sum = dh;
    if HAS_CARRY == 1u {
        sum += carry[at];
    }
    if shape.accumulate == 1u {
        sum += state_grad[at];
    }
    state_grad[at] = sum;
}
