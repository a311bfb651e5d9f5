// Schwefel 1981: 418.98 n - sum x_i sin sqrt|x_i|.
fn schwefel() -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i++) {
        sum += 418.982887 - at(i) * wave(at(i));
    }
    return sum;
}
