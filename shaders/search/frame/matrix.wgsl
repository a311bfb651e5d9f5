// One lane for each pair of dimensions.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = (group.y * groups.x + group.x) * 64u + lane;
    if place < run.dimensions * run.dimensions {
        STAGE(place % run.dimensions, place / run.dimensions);
    }
}
