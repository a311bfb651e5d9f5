// The values, and from `means` of each index map on the next maxima. Non-negative numbers are ordered as their bits, so atomic
// maxima of bits do not depend on the order of invocations. NaN comes last.
@group(0) @binding(6) var<storage, read_write> values: array<atomic<u32>>;

fn value(place: u32) -> f32 {
    return bitcast<f32>(atomicLoad(&values[place]));
}

// Maxima only grow, and few values exceed them when they come, so a load usually saves the more expensive exchange.
fn put(place: u32, bits: u32) {
    if bits > atomicLoad(&values[place]) {
        atomicMax(&values[place], bits);
    }
}

// Adds the statistics of four neighbours to the maxima of each of their axes.
fn put_axes(at: u32, bits: vec4u) {
    let first = (call.element + at - own.first) * 4u;
    for (var i = 0u; i < min(4u, own.len - min(own.len, first)); i++) {
        var rest = first + i;
        for (var axis = own.first_map + own.maps; axis > own.first_map; axis--) {
            let above = quotient(rest, maps[axis - 1u].size);
            put(maps[axis - 1u].means + rest - above * maps[axis - 1u].size.by, bits[i]);
            rest = above;
        }
    }
}

// Maxima over the rows of a lane's column.
var<private> column_bits: vec4u;

fn updated(p: vec4f, g: vec4f, s: ptr<function, State>, at: u32, row: u32, near: Near) -> vec4f {
    let known = least(at, row, near);
    let bits = bitcast<vec4u>(statistic(p, g, known));
    if GENERAL {
        put_axes(at, bits);
    } else {
        column_bits = max(column_bits, bits);
        if own.maps > 1u {
            put(own.means + row, max(max(bits.x, bits.y), max(bits.z, bits.w)));
        }
    }
    return rule(p, g, s, known);
}

fn leave(column: u32) {
    if !GENERAL {
        let place = last.means + column * 4u;
        put(place, column_bits.x);
        put(place + 1u, column_bits.y);
        put(place + 2u, column_bits.z);
        put(place + 3u, column_bits.w);
    }
}
