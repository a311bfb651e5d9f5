// |a - b|, whose gradient at 0 is 0.
fn l1_of(a: vec4f, b: vec4f) -> vec4f {
    return abs(a - b);
}

fn l1_grad0(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return dy * sign(a - b);
}

fn l1_grad1(dy: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return -dy * sign(a - b);
}
