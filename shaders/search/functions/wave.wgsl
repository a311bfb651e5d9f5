// sin sqrt|u|, the whole periods taken off first, since devices are exact only near 0.
fn wave(u: f32) -> f32 {
    let root = sqrt(abs(u));
    return sin(root - 6.28318531 * round(root * 0.159154943));
}
