// Blocks of elements whose codes of 8 bits share a scale, a workgroup of 64 for each: see src/optim/device/blocks.rs. SMALL
// says whether some tensors are too small for codes: a CPU adapter goes both ways of an `if`.
struct Block {
    // The lane's vector of four in the window, and whether it has one.
    at: u32,
    is_mine: bool,
    // Which of its four elements lie in the tensor.
    inside: vec4<bool>,
    // Whether the tensor stays f32; the block's first word.
    plain: bool,
    word: u32,
    lane: u32,
}

const BLOCK_WORDS = 65u;

fn block_of(number: u32, lane: u32) -> Block {
    var stretch = table[1u + number / 16u];
    while table[stretch + 4u] <= number {
        stretch += 4u;
    }
    let plain = SMALL && table[stretch + 3u] != 0u;
    let vectors = select(64u, 16u, plain);
    let vector = (number - table[stretch]) * vectors + lane;
    let element = vec4u(vector * 4u) + vec4u(0u, 1u, 2u, 3u);
    let inside = element < vec4u(table[stretch + 2u]);
    let is_mine = lane < vectors && inside.x;
    return Block(table[stretch + 1u] + vector, is_mine, inside, plain, number * BLOCK_WORDS, lane);
}
