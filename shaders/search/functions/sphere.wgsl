// The sphere function: sum x_i^2.
fn sphere() -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i++) {
        sum += at(i) * at(i);
    }
    return sum;
}
