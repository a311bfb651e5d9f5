// Applies a rule to four adjacent elements per invocation: loads, calls, stores.
@group(0) @binding(3) var<storage, read_write> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;

const NOWHERE = 0xffffffffu;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = place(workgroup.y * workgroups.x + workgroup.x, lane);
    if at == NOWHERE || gate.skip != 0u {
        return;
    }
    let p = params[at];
    let g = gradient(grads[at], p, at);
    var state = load(at);
    let next = settled(updated(p, g, &state, at), p, &state);
    keep_average(next, p, &state);
    params[at] = next;
    store(at, state);
}
