// Applies a rule to a block, four neighbouring elements an invocation: loads, calls, and stores once the largest magnitude of
// the block is known.
@group(0) @binding(3) var<storage, read_write> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = workgroup.y * workgroups.x + workgroup.x;
    if number >= call.len || gate.skip != 0u {
        return;
    }
    let block = block_of(call.first + number);
    let at = block.first + lane;
    let inside = inside_of(block, lane);
    var state: State;
    if inside.x {
        let p = params[at];
        state = load(block, lane, at);
        let next = settled(updated(p, gradient(grads[at], p, at), &state, at), p, &state);
        keep_average(next, p, &state);
        params[at] = next;
        store(at, state);
    }
    store_codes(block, lane, inside, coded(state, inside));
}
