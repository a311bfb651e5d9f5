// The sums over the elements normalised together with those of quad `i`.
fn sums_at(i: u32) -> Sums {
    if JOINED == 0u {
        let at = 2u * (i % ROW_QUADS);
        return Sums(sums[at], sums[at + 1u]);
    }
    let a = sums[line_of(i, 0u)];
    if ALIGNED != 0u {
        return Sums(vec4f(a.x), vec4f(a.y));
    }
    let b = sums[line_of(i, 1u)];
    let c = sums[line_of(i, 2u)];
    let d = sums[line_of(i, 3u)];
    return Sums(vec4f(a.x, b.x, c.x, d.x), vec4f(a.y, b.y, c.y, d.y));
}
