// Argmax indices of 2x2 windows as conv2d_pool.wgsl stores them: a word per channel holds those of BLOCK neighbours
// in a row, four bits each. A row has BLOCKS words.
alias Places = vec4u;

fn place_at(window: u32) -> vec4u {
    let column = window / QUADS % WIDTH;
    let words = places[(window / (QUADS * WIDTH) * BLOCKS + column / BLOCK) * QUADS + window % QUADS];
    return (words >> vec4u(column % BLOCK * 4u)) & vec4u(15u);
}
