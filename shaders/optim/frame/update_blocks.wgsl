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
    let block = block_of(call.first + number, lane);
    var state: State;
    if block.is_mine {
        let p = params[block.at];
        let g = gradient(grads[block.at], p, block.at);
        state = load(block);
        let next = settled(updated(p, g, &state, block.at), p, &state);
        keep_average(next, p, &state);
        params[block.at] = next;
        // Of what lies behind the end of the tensor nothing may count.
        state = inside_alone(state, block.inside);
    }
    store(block, state);
}
