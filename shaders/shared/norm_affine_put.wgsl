// Stores the sums of all rows.
fn leave_affine(i: u32, q: u32, plain: vec4f, product: vec4f) {
    put_bias(q, plain);
    put_weight(q, product);
    put_sums(q, plain, product);
}
