// The cell of a plain recurrent layer: tanh, or ReLU with RELU.
fn finish(sample: u32, unit: u32, sum: vec4f) {
    let x = sum.x + input_of(sample, unit).x;
    if RELU == 1u {
        // Keeps NaN, unlike `max`.
        store_state(sample, unit, select(x, 0.0, x < 0.0));
    } else {
        store_state(sample, unit, bent(vec4f(x)).x);
    }
}
