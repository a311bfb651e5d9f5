// Stores the sums of a part at index `i`.
fn leave_affine(i: u32, q: u32, plain: vec4f, product: vec4f) {
    left[2u * i] = plain;
    left[2u * i + 1u] = product;
}
