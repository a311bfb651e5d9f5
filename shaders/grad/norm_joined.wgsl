// Two partial norms together. As bits, numbers without a sign have the order of their values, infinity comes after
// them and NaN last: a maximum of bits loses neither.
fn norm_joined(a: f32, b: f32) -> f32 {
    if NORM < 3u {
        return a + b;
    }
    return bitcast<f32>(max(bitcast<u32>(a), bitcast<u32>(b)));
}
