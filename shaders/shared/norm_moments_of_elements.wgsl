// The moments of the quads from `start` to `end` of a line of elements. Sums in runs, because a long chain of
// additions loses precision.
fn moments_of(team: Team, line: u32, start: u32, end: u32) -> Moments {
    let first = first_of_line(line);
    var count = vec4f(0.0);
    var shift = vec4f(0.0);
    if CENTRED != 0u {
        var sum = vec4f(0.0);
        for (var begin = start + team.member; begin < end; begin += RUN * TEAM) {
            var run = vec4f(0.0);
            for (var k = begin; k < min(begin + RUN * TEAM, end); k += TEAM) {
                let i = quad_of(first, k);
                let inside = is_inside(line, i);
                run += select(vec4f(0.0), x[i], inside);
                count += select(vec4f(0.0), vec4f(1.0), inside);
            }
            sum += run;
        }
        let sums = joined(team, Sums(count, sum));
        count = sums.plain;
        shift = sums.product / max(count, vec4f(1.0));
    }
    var sum = vec4f(0.0);
    var squares = vec4f(0.0);
    for (var begin = start + team.member; begin < end; begin += RUN * TEAM) {
        var run = vec4f(0.0);
        var run_squares = vec4f(0.0);
        for (var k = begin; k < min(begin + RUN * TEAM, end); k += TEAM) {
            let i = quad_of(first, k);
            let difference = select(vec4f(0.0), x[i] - shift, is_inside(line, i));
            run += difference;
            run_squares += difference * difference;
        }
        sum += run;
        squares += run_squares;
    }
    let sums = joined(team, Sums(sum, squares));
    return centred(count, shift, sums.plain, sums.product);
}
