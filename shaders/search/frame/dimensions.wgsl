// One lane for each dimension.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let dimension = (group.y * groups.x + group.x) * 64u + lane;
    if dimension < run.dimensions {
        STAGE(dimension);
    }
}
