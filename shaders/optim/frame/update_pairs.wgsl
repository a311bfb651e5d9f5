// As update.wgsl, for CPU adapters, where a load costs much, whatever it brings: two vectors of four per invocation, so that
// one load brings their numbers of 16 bits. Segments have whole pairs, because tensors are padded to 64 elements.
@group(0) @binding(3) var<storage, read_write> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = 2u * ((workgroup.y * workgroups.x + workgroup.x) * 128u + lane);
    if index >= call.len || gate.skip != 0u {
        return;
    }
    let at = call.first + index;
    var first: State;
    var second: State;
    load_pair(at, &first, &second);
    update_vector(at, &first);
    update_vector(at + 1u, &second);
    store_pair(at, first, second);
}

fn update_vector(at: u32, s: ptr<function, State>) {
    let p = params[at];
    let next = settled(updated(p, gradient(grads[at], p, at), s, at), p, s);
    keep_average(next, p, s);
    params[at] = next;
}
