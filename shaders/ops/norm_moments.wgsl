// Moments of parts of lines, computed from elements or from the parts of a previous dispatch. For whole lines
// (`LAST`), stores the statistic.
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
    let moments = moments_of(team, line, start, min(start + shape.length, shape.count));
    if team.member != 0u || team.line >= shape.work {
        return;
    }
    leave(i, line, moments);
}
