// Computes the statistic of a line, and stores it if this lane is the first of the line (`leads`): shift, delta and
// rstd, for one line in the lanes of one quad, or for four columns in three quads.
fn keep(line: u32, moments: Moments, leads: bool) -> Statistic {
    let rstd = vec4f(1.0) / sqrt(moments.squares * shape.scale + vec4f(shape.eps));
    let statistic = Statistic(moments.shift, moments.delta, rstd);
    if !leads {
        return statistic;
    }
    if JOINED != 0u {
        statistics[line] = vec4f(moments.shift.x, moments.delta.x, rstd.x, 0.0);
    } else {
        statistics[3u * line] = moments.shift;
        statistics[3u * line + 1u] = moments.delta;
        statistics[3u * line + 2u] = rstd;
    }
    track(line, moments);
    return statistic;
}
