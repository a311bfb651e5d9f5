// One lane for each element of the population.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let element = (group.y * groups.x + group.x) * 64u + lane;
    if element < run.members * run.dimensions {
        STAGE(element % run.members, element / run.members);
    }
}
