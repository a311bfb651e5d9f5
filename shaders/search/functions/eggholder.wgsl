// Eggholder (Whitley et al. 1996): -(y + 47) sin sqrt|x/2 + y + 47| - x sin sqrt|x - y - 47|.
fn eggholder() -> f32 {
    let height = at(1u) + 47.0;
    return -height * wave(0.5 * at(0u) + height) - at(0u) * wave(at(0u) - height);
}
