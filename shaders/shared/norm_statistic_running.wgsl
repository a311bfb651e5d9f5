// The statistic of the elements of quad `i`: the running statistics of its columns.
fn statistic_of(i: u32) -> Statistic {
    let at = i % ROW_QUADS;
    return Statistic(running_mean[at], vec4f(0.0), vec4f(1.0) / sqrt(running_var[at] + vec4f(shape.eps)));
}
