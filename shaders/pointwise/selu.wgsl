const SELU_SCALE: f32 = 1.05070098735548;
const SELU_ALPHA: f32 = 1.67326324235438;

fn selu_of(x: vec4f) -> vec4f {
    return SELU_SCALE * select(SELU_ALPHA * expm1_of_negative(min(x, vec4f())), x, x > vec4f());
}

fn selu_grad0(dy: vec4f, x: vec4f) -> vec4f {
    return dy * SELU_SCALE * select(SELU_ALPHA * exp_of_negative(min(x, vec4f())), vec4f(1.0), x > vec4f());
}
