// The two ranges of Cephes. A driver's own function may overflow for large numbers and loses precision for small
// ones.
fn tanh_of(x: vec4f) -> vec4f {
    let size = min(abs(x), vec4f(10.0));
    let square = size * size;
    var p = vec4f(-5.70498872745e-3);
    p = p * square + vec4f(2.06390887954e-2);
    p = p * square + vec4f(-5.37397155531e-2);
    p = p * square + vec4f(1.33314422036e-1);
    p = p * square + vec4f(-3.33332819422e-1);
    let far = vec4f(1.0) - vec4f(2.0) / (exp(2.0 * size) + vec4f(1.0));
    return select(select(far, -far, x < vec4f(0.0)), x + x * square * p, size < vec4f(0.625));
}

fn tanh_grad0(dy: vec4f, x: vec4f) -> vec4f {
    let y = tanh_of(x);
    return dy * (vec4f(1.0) - y * y);
}
