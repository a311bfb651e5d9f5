// Norms of the values that a rule measures, over tiles of tensors, one tile per workgroup: each lane reads every
// LANES-th vector of four.
struct Chunk { first: u32, len: u32 }

@group(0) @binding(3) var<storage, read> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;
@group(0) @binding(5) var<storage, read> tiles: array<Chunk>;
@group(0) @binding(6) var<storage, read_write> parts: array<vec2f>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = workgroup.y * workgroups.x + workgroup.x;
    // Loaded before any branch, so that one load serves all lanes.
    let tile = tiles[call.first + number];
    begin_chunk(call.first + number);
    if number >= call.len || gate.skip != 0u {
        return;
    }
    var first = Squares(vec4f(), vec4f());
    var second = first;
    for (var i = lane; i < tile.len; i += LANES) {
        let at = tile.first + i;
        let p = params[at];
        let g = gradient(grads[at], p, at);
        var state = load(at);
        let found = measured(p, g, &state, at);
        first = with_square(first, found.first);
        second = with_square(second, found.second);
        store(at, state);
    }
    finish((call.first + number) * PARTS, PARTS, lane, both(first, second));
}
