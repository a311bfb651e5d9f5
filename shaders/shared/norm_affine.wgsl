// Weights and biases are stored as in torch: `AFFINE` quads for as many of the matrix, or without the padding of its
// rows (`GATHERED`).
fn dense_place(i: u32, lane: u32) -> u32 {
    let quad = i % AFFINE;
    return quad / ROW_QUADS * COLUMNS + quad % ROW_QUADS * 4u + lane;
}
