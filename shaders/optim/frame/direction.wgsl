// Writes the directions to be orthogonalized, each divided by its tensor's norm, for the products that follow.
@group(0) @binding(3) var<storage, read> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;
// The tensor of each block of 64 elements, and the ratio of each tensor.
@group(0) @binding(5) var<storage, read> blocks: array<u32>;
@group(0) @binding(6) var<storage, read> ratios: array<f32>;
@group(0) @binding(7) var<storage, read_write> directions: array<vec4f>;

const NOWHERE = 0xffffffffu;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = place(group.y * groups.x + group.x, lane);
    if at == NOWHERE || gate.skip != 0u {
        return;
    }
    let g = gradient(grads[at], params[at], at);
    directions[at] = ratios[blocks[at / 16u]] * direction(g, load(at));
}
