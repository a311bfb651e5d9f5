// Applies a rule to a tile, four adjacent elements at a time: loads, calls, stores.
@group(0) @binding(3) var<storage, read_write> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = workgroup.y * workgroups.x + workgroup.x;
    // Loaded before any branch, so that one load serves all lanes.
    let tile = tiles[call.first + number];
    begin(tile.map);
    if number >= call.len || gate.skip != 0u || lane >= tile.width {
        return;
    }
    let near = near_of(tile.column + lane, tile.matrix);
    var at = tile.first + lane;
    for (var i = 0u; i < tile.rows; i++) {
        let p = params[at];
        let g = gradient(grads[at], p, at);
        var state = load(at);
        let next = settled(updated(p, g, &state, at, tile.row + i, near), p, &state);
        keep_average(next, p, &state);
        params[at] = next;
        store(at, state);
        at += tile.stride;
    }
    leave(tile.column + lane);
}
