// One step of a recurrent layer on CPU adapters: each of the LANES lanes of a subgroup has all gates of one unit;
// states are loaded by one lane and broadcast to all. The cell's `finish` computes states from the sums.
//
// HIDDEN is a multiple of 4. Constants: GATES of the cell, ROWS samples per tile, in GROUPS of LANES.
@group(0) @binding(2) var<storage, read> weight: array<vec4f>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let lane = id.x;
    let tile = group.y * shape.grid_width + group.x;
    if tile >= shape.tiles {
        return;
    }
    let first = tile % shape.row_tiles * ROWS;
    let unit = tile / shape.row_tiles * LANES + lane;
    let own = min(unit, HIDDEN - 1u);

    var state_at: array<u32, GROUPS>;
    #for g in 0..GROUPS
    state_at[$g] = (shape.state_row + min(first + $g * LANES + lane, shape.batch - 1u) * shape.state_stride) * PITCH;
    #end
    let start = bias_of(own);
    var acc: array<vec4f, ROWS>;
    #for m in 0..ROWS
    acc[$m] = start;
    #end
    for (var k = 0u; k < HIDDEN / 4u; k++) {
        var a: array<vec4f, GROUPS>;
        #for g in 0..GROUPS
        a[$g] = vec4f(states[state_at[$g] + k * 4u], states[state_at[$g] + k * 4u + 1u], states[state_at[$g] + k * 4u + 2u], states[state_at[$g] + k * 4u + 3u]);
        #end
        var q: array<vec4f, 4>;
        #for g in 0..GATES
        q[$g] = weight[($g * HIDDEN + own) * (HIDDEN / 4u) + k];
        #end
        var b: array<vec4f, 4>;
        #for c in 0..4
        b[$c] = vec4f(q[0][$c], q[1][$c], q[2][$c], q[3][$c]);
        #end
        #for m in 0..ROWS
        #for c in 0..4
        acc[$m] = fma(vec4f(subgroupBroadcast(a[$m / LANES][$c], $m % LANES)), b[$c], acc[$m]);
        #end
        #end
    }

    // A copy, because a loop over the sums themselves would keep them out of registers.
    var sums: array<vec4f, ROWS>;
    #for m in 0..ROWS
    sums[$m] = acc[$m];
    #end
    for (var m = 0u; m < ROWS; m++) {
        if first + m < shape.batch && unit < HIDDEN {
            finish(first + m, unit, sums[m]);
        }
    }
}
