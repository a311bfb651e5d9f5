// Ackley 1987: 20 + e - 20 exp(-0.2 sqrt(mean x_i^2)) - exp(mean cos(2 pi x_i)).
fn ackley() -> f32 {
    var squares = 0.0;
    var ripples = 0.0;
    for (var i = 0u; i < DIMENSIONS; i++) {
        let here = at(i);
        // 1 - cos(2 pi x) as 2 sin^2(pi x): what is subtracted is exactly 0 at the minimum.
        let ripple = sin(3.14159265 * (here - round(here)));
        squares += here * here;
        ripples += 2.0 * ripple * ripple;
    }
    let far = 20.0 * (1.0 - exp(-0.2 * sqrt(squares / f32(DIMENSIONS))));
    return far + 2.71828183 * (1.0 - exp(-ripples / f32(DIMENSIONS)));
}
