// The moments of the parts from `start` to `end` of a line, from norm_moments.wgsl: a part counts as that many
// elements at its mean, plus its squared deviations.
fn moments_of(team: Team, line: u32, start: u32, end: u32) -> Moments {
    var count = vec4f(0.0);
    var shift = vec4f(0.0);
    if CENTRED != 0u {
        var sum = vec4f(0.0);
        for (var begin = start + team.member; begin < end; begin += RUN * TEAM) {
            var run = vec4f(0.0);
            for (var k = begin; k < min(begin + RUN * TEAM, end); k += TEAM) {
                let part = part_at(k * shape.lines + line);
                run += part.count * part.shift;
                count += part.count;
            }
            sum += run;
        }
        count = team_sum(team, count);
        shift = team_sum(team, sum) / max(count, vec4f(1.0));
    }
    var sum = vec4f(0.0);
    var squares = vec4f(0.0);
    for (var begin = start + team.member; begin < end; begin += RUN * TEAM) {
        var run = vec4f(0.0);
        var run_squares = vec4f(0.0);
        for (var k = begin; k < min(begin + RUN * TEAM, end); k += TEAM) {
            let part = part_at(k * shape.lines + line);
            let difference = (part.shift - shift) + part.delta;
            run += part.count * difference;
            run_squares += part.squares + part.count * difference * difference;
        }
        sum += run;
        squares += run_squares;
    }
    return centred(count, shift, team_sum(team, sum), team_sum(team, squares));
}

fn part_at(at: u32) -> Moments {
    if JOINED != 0u {
        let part = parts[at];
        return Moments(vec4f(part.x), vec4f(part.y), vec4f(part.z), vec4f(part.w));
    }
    return Moments(parts[4u * at], parts[4u * at + 1u], parts[4u * at + 2u], parts[4u * at + 3u]);
}
