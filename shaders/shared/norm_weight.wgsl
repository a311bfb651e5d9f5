fn weight_of(i: u32) -> vec4f {
    if GATHERED == 0u {
        return weight[i % AFFINE];
    }
    let at = dense_place(i, 0u);
    return vec4f(
        weight[at / 4u][at % 4u],
        weight[(at + 1u) / 4u][(at + 1u) % 4u],
        weight[(at + 2u) / 4u][(at + 2u) % 4u],
        weight[(at + 3u) / 4u][(at + 3u) % 4u],
    );
}
