// Five pits of nearly the same depth: -sum exp(-3 |x - c|^2).
fn pit(x: f32, y: f32) -> f32 {
    return exp(-3.0 * (x * x + y * y));
}

fn multimodal() -> f32 {
    let left = at(0u) + 2.0;
    let right = at(0u) - 2.0;
    let below = at(1u) + 2.0;
    let above = at(1u) - 2.0;
    return -(pit(left, below) + pit(right, above) + pit(left, above) + pit(right, below) + pit(at(0u), at(1u)));
}
