// Rastrigin 1974: sum x_i^2 + 10 (1 - cos(2 pi x_i)).
fn rastrigin() -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < DIMENSIONS; i++) {
        let here = at(i);
        // 1 - cos(2 pi x) as 2 sin^2(pi x), which does not cancel near the minimum. The whole periods go first, since
        // devices are exact only near 0.
        let ripple = sin(3.14159265 * (here - round(here)));
        sum += here * here + 20.0 * ripple * ripple;
    }
    return sum;
}
