fn put_sums(q: u32, plain: vec4f, product: vec4f) {
    sums[2u * q] = plain;
    sums[2u * q + 1u] = product;
}
