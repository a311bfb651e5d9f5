// a if the condition is not 0, otherwise b.
fn where_of(condition: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return select(a, b, condition == vec4f());
}

fn where_grad1(dy: vec4f, condition: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return select(dy, vec4f(), condition == vec4f());
}

fn where_grad2(dy: vec4f, condition: vec4f, a: vec4f, b: vec4f) -> vec4f {
    return select(vec4f(), dy, condition == vec4f());
}
