fn bias_of(i: u32) -> vec4f {
    if GATHERED == 0u {
        return bias[i % AFFINE];
    }
    let at = dense_place(i, 0u);
    return vec4f(
        bias[at / 4u][at % 4u],
        bias[(at + 1u) / 4u][(at + 1u) % 4u],
        bias[(at + 2u) / 4u][(at + 2u) % 4u],
        bias[(at + 3u) / 4u][(at + 3u) % 4u],
    );
}
