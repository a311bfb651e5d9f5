// One workgroup for each dimension: the sum of `STAGE_term` over all members goes to `STAGE`.
var<workgroup> parts: array<vec2f, 64>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let dimension = group.y * groups.x + group.x;
    var sum = vec2f();
    if dimension < run.dimensions {
        for (var member = lane; member < run.members; member += 64u) {
            sum += STAGE_term(member, dimension);
        }
    }
    parts[lane] = sum;
    workgroupBarrier();
    if lane == 0u && dimension < run.dimensions {
        for (var other = 1u; other < 64u; other++) {
            sum += parts[other];
        }
        STAGE(dimension, sum);
    }
}
