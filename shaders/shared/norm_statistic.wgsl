// The statistic of the elements of quad `i`.
fn statistic_of(i: u32) -> Statistic {
    if JOINED == 0u {
        let at = 3u * (i % ROW_QUADS);
        return Statistic(statistics[at], statistics[at + 1u], statistics[at + 2u]);
    }
    let a = statistics[line_of(i, 0u)];
    if ALIGNED != 0u {
        return Statistic(vec4f(a.x), vec4f(a.y), vec4f(a.z));
    }
    let b = statistics[line_of(i, 1u)];
    let c = statistics[line_of(i, 2u)];
    let d = statistics[line_of(i, 3u)];
    return Statistic(
        vec4f(a.x, b.x, c.x, d.x),
        vec4f(a.y, b.y, c.y, d.y),
        vec4f(a.z, b.z, c.z, d.z),
    );
}
