// Sums of numbers that are at least 0, of which one alone may be as large as numbers are: the large ones in units of
// 2^64.
struct Gathered { low: vec4f, high: vec4f }

const UNIT = 18446744073709551616.0;
const PER_UNIT = 5.421010862427522e-20;

// NaN is among the small ones, and stays.
fn gathered(sum: Gathered, x: vec4f) -> Gathered {
    let is_large = x >= vec4f(UNIT);
    return Gathered(sum.low + select(x, vec4f(), is_large), sum.high + select(vec4f(), x * PER_UNIT, is_large));
}

// A sum as one number: below 0 where it is in units.
fn packed(low: f32, high: f32) -> f32 {
    return select(low, -(high + low * PER_UNIT), high > 0.0);
}

fn mean_of_sum(low: f32, high: f32, count: u32) -> f32 {
    return select(low / f32(count), (high + low * PER_UNIT) / f32(count) * UNIT, high > 0.0);
}
