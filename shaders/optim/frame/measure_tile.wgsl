// Norms of the values that a rule measures, over tiles, one tile per workgroup.
@group(0) @binding(6) var<storage, read> values: array<vec4f>;
@group(0) @binding(3) var<storage, read> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> parts: array<vec2f>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = workgroup.y * workgroups.x + workgroup.x;
    // Loaded before any branch, so that one load serves all lanes.
    let tile = tiles[call.first + number];
    begin(tile.map);
    if number >= call.len || gate.skip != 0u {
        return;
    }
    let near = near_of(tile.column + min(lane, tile.width - 1u), tile.matrix);
    let rows = select(0u, tile.rows, lane < tile.width);
    var at = tile.first + lane;
    var first = Squares(vec4f(), vec4f());
    var second = first;
    for (var i = 0u; i < rows; i++) {
        let p = params[at];
        let found = measure(p, gradient(grads[at], p, at), statistics(at, tile.row + i, near));
        first = with_square(first, found.first);
        second = with_square(second, found.second);
        at += tile.stride;
    }
    finish(tile.part, tile.width, lane, both(first, second));
}
