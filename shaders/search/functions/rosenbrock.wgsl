// Rosenbrock 1960: sum 100 (x_{i+1} - x_i^2)^2 + (1 - x_i)^2.
fn rosenbrock() -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS - 1u; i++) {
        let here = at(i);
        let off = at(i + 1u) - here * here;
        sum += 100.0 * off * off + (1.0 - here) * (1.0 - here);
    }
    return sum;
}
