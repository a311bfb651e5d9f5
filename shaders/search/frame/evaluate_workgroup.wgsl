// The objective of the user's own, one workgroup a member: the sum of what its lanes return, in a tree.
var<workgroup> parts: array<f32, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let member = group.y * groups.x + group.x;
    // A grid of two dimensions may have more workgroups than there are members.
    current_member = min(member, run.members - 1u);
    var sum = 0.0;
    for (current_sample = 0u; current_sample < run.samples; current_sample++) {
        sum += objective(lane);
    }
    parts[lane] = sum;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half >>= 1u) {
        if lane < half {
            parts[lane] += parts[lane + half];
        }
        workgroupBarrier();
    }
    if lane == 0u && member < run.members {
        keys[member] = key_of(parts[0] / f32(run.samples));
    }
}
