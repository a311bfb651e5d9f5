// The gate functions of recurrent cells, used with `pointwise/tanh.wgsl`. They keep NaN.
fn gate_of(x: vec4f) -> vec4f {
    return select(sigmoid(x), x, is_nan(x));
}

fn bent(x: vec4f) -> vec4f {
    return select(tanh_of(x), x, is_nan(x));
}
