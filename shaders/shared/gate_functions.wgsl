// The functions of the gates of recurrent cells, with `pointwise/tanh.wgsl`: they keep NaN.
fn gate_of(x: vec4f) -> vec4f {
    return select(sigmoid(x), x, is_nan(x));
}

fn bent(x: vec4f) -> vec4f {
    return select(tanh_of(x), x, is_nan(x));
}
