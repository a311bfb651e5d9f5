// Two sums over the quads from `start` to `end` of a line: of the gradients of the normalised elements, and of those
// times the elements.
fn sums_of_line(team: Team, line: u32, start: u32, end: u32, statistic: Statistic) -> Sums {
    let first = first_of_line(line);
    var sums = Sums(vec4f(0.0), vec4f(0.0));
    for (var begin = start + team.member; begin < end; begin += RUN * TEAM) {
        var run = Sums(vec4f(0.0), vec4f(0.0));
        for (var k = begin; k < min(begin + RUN * TEAM, end); k += TEAM) {
            let i = quad_of(first, k);
            var gradient = dy[i];
            if JOINED != 0u {
                gradient *= weight_of(i);
            }
            gradient = select(vec4f(0.0), gradient, is_inside(line, i));
            run.plain += gradient;
            run.product += select(vec4f(0.0), gradient * normalized(x[i], statistic), is_inside(line, i));
        }
        sums.plain += run.plain;
        sums.product += run.product;
    }
    return joined(team, sums);
}
