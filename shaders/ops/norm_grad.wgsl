// The gradient of a normalisation of whole lines: the lanes of a line compute its sums and write its gradient. For
// columns that are normalised separately, the sums are also the gradients of biases and weights.
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
    let first = first_of_line(line);
    let statistic = statistic_of(first);
    let sums = sums_of_line(team, line, 0u, shape.count, statistic);
    if team.line >= shape.work {
        return;
    }
    if JOINED == 0u && team.member == 0u {
        put_bias(line, sums.plain);
        put_weight(line, sums.product);
    }
    let mean = sums.plain * shape.scale;
    let mean_product = sums.product * shape.scale;
    for (var k = team.member; k < shape.count; k += TEAM) {
        let i = quad_of(first, k);
        var value = select(vec4f(0.0), slope_of(i, statistic, mean, mean_product), is_element(i));
        if shape.adds != 0u {
            value += dx[i];
        }
        dx[i] = value;
    }
}
