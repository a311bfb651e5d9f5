// As update_blocks.wgsl, for CPU adapters: subgroups of eight lanes, which exchange without memory, take eight blocks. Each lane
// finds one of these and its scales; then all go over one block after the other, eight vectors each, so that no barrier is
// needed and one load brings the codes of four vectors.
@group(0) @binding(3) var<storage, read_write> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) index: u32,
) {
    let first = ((workgroup.y * workgroups.x + workgroup.x) * 8u + index / 8u) * 8u;
    if first >= call.len || gate.skip != 0u {
        return;
    }
    let lane = index % 8u;
    let count = min(8u, call.len - first);
    begin_codes(lane);
    let own = block_of(call.first + first + min(lane, count - 1u));
    let scales = scales_of(own);
    var own_most: Most;
    for (var i = 0u; i < count; i++) {
        let block = Block(
            call.first + first + i,
            subgroupShuffle(own.first, i),
            subgroupShuffle(own.elements, i),
            SMALL && subgroupShuffle(u32(own.plain), i) != 0u,
        );
        let most = update_block(block, lane, scales_in(scales, i));
        if i == lane {
            own_most = most;
        }
    }
    if lane < count && !own.plain {
        store_scales(own, own_most);
    }
}

// Vector k of a lane: four that follow each other for each load of codes, and of a tensor that stays f32 two in all.
fn vector_of(block: Block, lane: u32, k: u32) -> u32 {
    let of_codes = 32u * (k / 4u) + 4u * lane + k % 4u;
    let of_values = select(lane + 8u * k, 64u, k >= 2u);
    return select(of_codes, of_values, block.plain);
}

// A vector of a block. What lies behind the end of the tensor is loaded and computed, because all lanes go the same way, and
// not stored.
fn updated_vector(block: Block, lane: u32, k: u32, words: Words, scales: Scales) -> Coded {
    let vector = vector_of(block, lane, k);
    let at = block.first + vector;
    let inside = inside_of(block, vector);
    let p = params[at];
    var state = load(block, k, vector, at, words, scales);
    let next = settled(updated(p, gradient(grads[at], p, at), &state, at), p, &state);
    keep_average(next, p, &state);
    let kept = coded(state, inside);
    if inside.x {
        params[at] = next;
        store(at, state);
        store_values(block, k, vector, kept);
    }
    return kept;
}
