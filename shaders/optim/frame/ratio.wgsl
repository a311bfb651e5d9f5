// Computes the ratio of each tensor from its norms, one tensor per workgroup.
struct Tensor { first_part: u32, parts: u32 }

@group(0) @binding(3) var<storage, read> parts: array<vec2f>;
@group(0) @binding(4) var<storage, read> tensors: array<Tensor>;
@group(0) @binding(5) var<storage, read_write> ratios: array<f32>;

// The zeros of padding are multiplied by it, so it must be finite for any gradients.
fn finite(x: f32) -> f32 {
    let bits = bitcast<u32>(x) & 0x7fffffffu;
    return select(select(x, sign(x) * LARGEST.x, bits == 0x7f800000u), 0.0, bits > 0x7f800000u);
}

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = workgroup.y * workgroups.x + workgroup.x;
    if number >= call.len || gate.skip != 0u {
        return;
    }
    let at = call.first + number;
    let tensor = tensors[at];
    var total = vec4f();
    for (var i = lane; i < tensor.parts; i += LANES) {
        let norms = parts[tensor.first_part + i].xxyy * vec4f(LOW, HIGH, LOW, HIGH);
        total += norms * norms;
    }
    let sums = joined(lane, total);
    if lane == 0u {
        ratios[at] = finite(ratio_of(at, norms_of(sums)));
    }
}
