// One backward step of a recurrent layer on CPU adapters: each of the LANES lanes of a subgroup has four units; the
// gradients of the next step's gates are loaded by one lane and broadcast to all. The cell's `finish` computes the
// gradients of this step's gates from the sums.
//
// HIDDEN is a multiple of 4. Constants: GATES of the cell, ROWS samples per tile, in GROUPS of LANES.
@group(0) @binding(1) var<storage, read> weight: array<vec4f>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let lane = id.x;
    let tile = group.y * shape.grid_width + group.x;
    if tile >= shape.tiles {
        return;
    }
    let first = tile % shape.row_tiles * ROWS;
    let quad = tile / shape.row_tiles * LANES + lane;
    let own = min(quad, HIDDEN / 4u - 1u);

    var after_at: array<u32, GROUPS>;
    #for g in 0..GROUPS
    after_at[$g] = (shape.after_row + min(first + $g * LANES + lane, shape.batch - 1u) * shape.row_stride) * GATES_PITCH;
    #end
    var acc: array<vec4f, ROWS>;
    let end = select(0u, GATES * HIDDEN / 4u, shape.has_after == 1u);
    for (var k = 0u; k < end; k++) {
        var a: array<vec4f, GROUPS>;
        #for g in 0..GROUPS
        a[$g] = vec4f(gate_grads[after_at[$g] + k * 4u], gate_grads[after_at[$g] + k * 4u + 1u], gate_grads[after_at[$g] + k * 4u + 2u], gate_grads[after_at[$g] + k * 4u + 3u]);
        #end
        var b: array<vec4f, 4>;
        #for c in 0..4
        b[$c] = weight[(k * 4u + $c) * (HIDDEN / 4u) + own];
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
        if first + m < shape.batch && quad < HIDDEN / 4u {
            finish(first + m, quad, sums[m] + upstream_of(first + m, quad));
        }
    }
}
