// Blocks of elements whose codes of 8 bits share a scale: see src/optim/device/blocks.rs. SMALL is whether some tensors are too
// small for codes; it is constant because CPU adapters execute both branches of an `if`.
struct Block {
    number: u32,
    // Its first vector of four in the window, and its number of elements.
    first: u32,
    elements: u32,
    // Whether its tensor stays f32.
    plain: bool,
}

fn block_of(number: u32) -> Block {
    var stretch = table[1u + number / 64u][number / 16u % 4u];
    while table[stretch + 1u].x <= number {
        stretch += 1u;
    }
    let found = table[stretch];
    let plain = SMALL && found.w != 0u;
    let vectors = select(64u, 16u, plain);
    let before = (number - found.x) * vectors;
    return Block(number, found.y + before, min(found.z - 4u * before, 4u * vectors), plain);
}

// Which elements of a vector of the block lie in the tensor.
fn inside_of(block: Block, vector: u32) -> vec4<bool> {
    return vec4u(4u * vector) + vec4u(0u, 1u, 2u, 3u) < vec4u(block.elements);
}

// The word of the block's scale.
fn scale_word(block: Block) -> u32 {
    return table[0].x + block.number;
}
