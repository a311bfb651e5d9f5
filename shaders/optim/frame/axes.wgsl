// Maxima: one index map for each axis of a tensor, in order.

// The index maps of the tensor's first and last axes.
var<private> own: IndexMap;
var<private> last: IndexMap;

fn begin(first_map: u32) {
    own = maps[first_map];
    last = maps[first_map + own.maps - 1u];
}

// What a lane loads once for its column of a tile.
struct Near { column: vec4f }

fn near_of(column: u32, matrix: u32) -> Near {
    if GENERAL {
        return Near();
    }
    let first = last.values + column * 4u;
    return Near(vec4f(value(first), value(first + 1u), value(first + 2u), value(first + 3u)));
}

// The minimum over the axes' statistics for each of four adjacent elements; zeros in padding. If GENERAL is false, the
// tensor has rows of whole vectors and two axes, or one axis.
fn least(at: u32, row: u32, near: Near) -> vec4f {
    if !GENERAL {
        return min(near.column, vec4f(select(value(own.values + row), LARGEST.x, own.maps == 1u)));
    }
    let first = (call.element + at - own.first) * 4u;
    let element = vec4u(first, first + 1u, first + 2u, first + 3u);
    let inside = element < vec4u(own.len);
    var found = vec4f(LARGEST);
    var rest = min(element, vec4u(own.len - 1u));
    for (var axis = own.first_map + own.maps; axis > own.first_map; axis--) {
        let size = maps[axis - 1u].size;
        let above = quotients(rest, size);
        let place = maps[axis - 1u].values + rest - above * size.by;
        found = min(found, vec4f(value(place.x), value(place.y), value(place.z), value(place.w)));
        rest = above;
    }
    return select(vec4f(), found, inside);
}
