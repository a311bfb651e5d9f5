// Mean and squared deviations of a part of a line, in two passes. The first computes the shift, a mean with the
// rounding error of its sum. The second sums the differences to the shift, whose mean is that error. So precision is
// kept, however far from zero all elements are.
struct Moments {
    count: vec4f,
    shift: vec4f,
    // The mean minus the shift.
    delta: vec4f,
    // The sum of the squared differences to the mean.
    squares: vec4f,
}

// From the sums of the second pass.
fn centred(count: vec4f, shift: vec4f, sum: vec4f, squares: vec4f) -> Moments {
    if CENTRED == 0u {
        return Moments(count, vec4f(0.0), vec4f(0.0), squares);
    }
    let delta = sum / max(count, vec4f(1.0));
    return Moments(count, shift, delta, max(squares - sum * delta, vec4f(0.0)));
}
