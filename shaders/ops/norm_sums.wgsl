// The two sums that the gradient of a line needs, over parts of the line.
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
    let known = statistics[line];
    let statistic = Statistic(vec4f(known.x), vec4f(known.y), vec4f(known.z));
    let sums = sums_of_line(team, line, start, min(start + shape.length, shape.count), statistic);
    if team.member != 0u || team.line >= shape.work {
        return;
    }
    left[i] = vec4f(sums.plain.x, sums.product.x, 0.0, 0.0);
}
