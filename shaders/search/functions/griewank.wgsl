// Griewank 1981: 1 + sum x_i^2 / 4000 - prod cos(x_i / sqrt(i + 1)).
fn griewank() -> f32 {
    var sum = 0.0;
    var product = 1.0;
    for (var i = 0u; i < DIMENSIONS; i++) {
        let here = at(i);
        sum += here * here;
        // The whole periods go first, since devices are exact only near 0.
        let turns = here / sqrt(f32(i + 1u)) * 0.159154943;
        product *= cos(6.28318531 * (turns - round(turns)));
    }
    return sum / 4000.0 + (1.0 - product);
}
