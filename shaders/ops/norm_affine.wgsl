// Gradients of the weights and biases of a normalisation: sums over rows of `AFFINE` quads, or over partial sums of a
// previous dispatch. The lanes of a line have one quad and one part.
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
    let q = i % AFFINE;
    let start = i / AFFINE * shape.length;
    let end = min(start + shape.length, shape.count);
    var plain = vec4f(0.0);
    var product = vec4f(0.0);
    for (var begin = start + team.member; begin < end; begin += RUN * TEAM) {
        var run = vec4f(0.0);
        var run_product = vec4f(0.0);
        for (var k = begin; k < min(begin + RUN * TEAM, end); k += TEAM) {
            run += plain_at(k * AFFINE + q);
            run_product += product_at(k * AFFINE + q);
        }
        plain += run;
        product += run_product;
    }
    plain = team_sum(team, plain);
    product = team_sum(team, product);
    if team.member != 0u || team.line >= shape.work {
        return;
    }
    leave_affine(i, q, plain, product);
}
