// Replaces the parameters of adjacent tensors by those to evaluate with: a slot's values, or points on the line from these
// through the parameters, beyond them by `by` times the distance.

// first and len count vectors of four.
struct Call { first: u32, len: u32, beyond: u32, by: f32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read_write> params: array<vec4f>;
@group(0) @binding(2) var<storage, read> slot: array<vec4f>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 256u + lane;
    if i >= call.len {
        return;
    }
    let at = call.first + i;
    let p = params[at];
    let kept = slot[at];
    params[at] = select(kept, p + call.by * (p - kept), call.beyond != 0u);
}
