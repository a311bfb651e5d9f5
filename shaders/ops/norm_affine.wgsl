// Gradients of the weights and biases of a normalisation: sums over rows of `AFFINE` quads, or over parts of them that a
// dispatch before left. An invocation takes one quad and one part.
@compute @workgroup_size(8)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = index_of(workgroup, workgroups, lane, 8u);
    if i >= shape.work {
        return;
    }
    let q = i % AFFINE;
    let start = i / AFFINE * shape.length;
    let end = min(start + shape.length, shape.count);
    var plain = vec4f(0.0);
    var product = vec4f(0.0);
    for (var begin = start; begin < end; begin += RUN) {
        var run = vec4f(0.0);
        var run_product = vec4f(0.0);
        for (var k = begin; k < min(begin + RUN, end); k++) {
            run += plain_at(k * AFFINE + q);
            run_product += product_at(k * AFFINE + q);
        }
        plain += run;
        product += run_product;
    }
    leave_affine(i, q, plain, product);
}
