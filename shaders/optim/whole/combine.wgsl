// The direction as a linear combination of the gradient and the stored pairs of one history block. `weights` begins
// with (whether to add to the direction so far, number of pairs) and (weight of the gradient, 0); then two weights for
// each pair.
struct Call { first: u32, len: u32, lanes: u32, out: u32, total: u32, stride: u32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read> weights: array<vec2f>;
@group(0) @binding(2) var<storage, read> grads: array<vec4f>;
@group(0) @binding(3) var<storage, read> steps: array<vec4f>;
@group(0) @binding(4) var<storage, read> changes: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> direction: array<vec4f>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = (workgroup.y * workgroups.x + workgroup.x) * 256u + lane;
    if index >= call.len {
        return;
    }
    let at = call.first + index;
    let pairs = u32(weights[0].y);
    var sum = vec4f();
    for (var left = pairs; left > 0u; left -= 1u) {
        let pair = left - 1u;
        let weight = weights[2u + pair];
        let s = steps[pair * call.stride + at];
        let y = changes[pair * call.stride + at];
        sum += weight.x * s + weight.y * y;
    }
    sum += weights[1].x * grads[at];
    if weights[0].x != 0.0 {
        sum += direction[at];
    }
    direction[at] = sum;
}
