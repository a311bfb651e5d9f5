// Maxima of what a tile has for each index of each axis. As bits, numbers without a sign have the order of their values,
// so that the order of invocations does not matter; a NaN comes last.
@group(0) @binding(3) var<storage, read> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;
@group(0) @binding(8) var<storage, read_write> maxima: array<atomic<u32>>;

fn put(place: u32, bits: u32) {
    atomicMax(&maxima[place], bits);
}

// Puts what belongs to four neighbours to each of their axes.
fn put_axes(at: u32, bits: vec4u) {
    let first = (call.element + at - own.first) * 4u;
    for (var i = 0u; i < min(4u, own.len - min(own.len, first)); i++) {
        var rest = first + i;
        for (var axis = own.first_view + own.views; axis > own.first_view; axis--) {
            let above = quotient(rest, views[axis - 1u].size);
            put(views[axis - 1u].values + rest - above * views[axis - 1u].size.by, bits[i]);
            rest = above;
        }
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    // Before anything is decided: then one load serves all lanes.
    let tile = tiles[call.first + number];
    begin(tile.view);
    if number >= call.len || gate.skip != 0u || lane >= tile.width {
        return;
    }
    let near = near_of(tile.column + lane, tile.matrix);
    var column = vec4u();
    var at = tile.first + lane;
    for (var i = 0u; i < tile.rows; i++) {
        let p = params[at];
        let x = bitcast<vec4u>(statistic(p, gradient(grads[at], p, at), least(at, tile.row + i, near)));
        if GENERAL {
            put_axes(at, x);
        } else {
            column = max(column, x);
            if own.views > 1u {
                put(own.values + tile.row + i, max(max(x.x, x.y), max(x.z, x.w)));
            }
        }
        at += tile.stride;
    }
    if !GENERAL {
        let place = last.values + (tile.column + lane) * 4u;
        put(place, column.x);
        put(place + 1u, column.y);
        put(place + 2u, column.z);
        put(place + 3u, column.w);
    }
}
