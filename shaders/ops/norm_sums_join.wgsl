// Adds the partial sums from norm_sums.wgsl.
@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let team = team_of(workgroup, workgroups, lane);
    #for alone in 0..ALONE
    if team.line >= shape.work {
        return;
    }
    #end
    let i = min(team.line, shape.work - 1u);
    let line = i % shape.lines;
    let start = i / shape.lines * shape.length;
    var sum = vec4f(0.0);
    for (var k = start + team.member; k < min(start + shape.length, shape.count); k += TEAM) {
        sum += parts[k * shape.lines + line];
    }
    sum = team_sum(team, sum);
    if team.member != 0u || team.line >= shape.work {
        return;
    }
    left[i] = sum;
}
