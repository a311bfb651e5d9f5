// Leaves the statistic of a line: shift, delta and rstd, of one line in the lanes of one quad, or of four columns in three.
fn keep(line: u32, moments: Moments) -> Statistic {
    let rstd = vec4f(1.0) / sqrt(moments.squares * shape.scale + vec4f(shape.eps));
    if JOINED != 0u {
        statistics[line] = vec4f(moments.shift.x, moments.delta.x, rstd.x, 0.0);
    } else {
        statistics[3u * line] = moments.shift;
        statistics[3u * line + 1u] = moments.delta;
        statistics[3u * line + 2u] = rstd;
    }
    track(line, moments);
    return Statistic(moments.shift, moments.delta, rstd);
}
