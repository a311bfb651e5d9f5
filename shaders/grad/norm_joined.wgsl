// Two partial norms together. What is not finite stays so in a maximum too.
fn norm_joined(a: f32, b: f32) -> f32 {
    if NORM < 3u {
        return a + b;
    }
    if (bitcast<u32>(a) & 0x7f800000u) == 0x7f800000u {
        return a;
    }
    return select(max(a, b), b, (bitcast<u32>(b) & 0x7f800000u) == 0x7f800000u);
}
