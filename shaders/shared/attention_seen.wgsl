// Shared by all attention kernels: a product, an exponential, and which scores take part.

const LOWEST: f32 = -3.4028234e38;

fn product(a: vec4f, b: vec4f, sum: f32) -> f32 {
    return fma(a.x, b.x, fma(a.y, b.y, fma(a.z, b.z, fma(a.w, b.w, sum))));
}

fn exponential(difference: vec4f) -> vec4f {
    return select(exp_of_negative(difference), difference, is_nan(difference));
}

fn seen(plane: u32, queries: vec4u, keys: vec4u) -> vec4<bool> {
    var is_seen = (queries < vec4u(QUERIES)) & (keys < vec4u(KEYS));
    if CAUSAL != 0u {
        is_seen = is_seen & (keys <= queries);
    }
    return is_seen & takes_part(plane, queries, keys);
}
