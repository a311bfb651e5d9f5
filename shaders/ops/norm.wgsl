// Normalises whole lines: the lanes of a line compute its statistic, store it and write the line. Each quad is passed
// to `finish`, which is appended.
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
    let line = min(team.line, shape.work - 1u);
    let moments = moments_of(team, line, 0u, shape.count);
    if team.line >= shape.work {
        return;
    }
    let statistic = keep(line, moments, team.member == 0u);
    let first = first_of_line(line);
    for (var k = team.member; k < shape.count; k += TEAM) {
        let i = quad_of(first, k);
        let value = normalized(x[i], statistic) * weight_of(i) + bias_of(i);
        y[i] = finish(i, select(vec4f(0.0), value, is_element(i)));
    }
}
