fn plain_at(i: u32) -> vec4f {
    return dy[i];
}

fn product_at(i: u32) -> vec4f {
    return dy[i] * normalized(x[i], statistic_of(i));
}
