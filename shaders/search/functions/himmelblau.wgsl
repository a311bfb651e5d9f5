// Himmelblau 1972: (x^2 + y - 11)^2 + (x + y^2 - 7)^2.
fn himmelblau() -> f32 {
    let a = at(0u) * at(0u) + at(1u) - 11.0;
    let b = at(0u) + at(1u) * at(1u) - 7.0;
    return a * a + b * b;
}
