// Row and column means: the first index map holds the means over one axis, the second those over another.

fn value(place: u32) -> f32 {
    return values[place / 4u][place % 4u];
}

fn folded(x: vec4f) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

// Clamped to the largest number, because an infinite average would never recover.
fn finished(old: f32, low: f32, high: f32, count: u32) -> f32 {
    return renewed(old, min(mean_of_sum(low, high, count), LARGEST.x));
}

// The index maps of the tensor's rows and columns, and its ratio.
var<private> own: IndexMap;
var<private> across: IndexMap;
var<private> ratio_now: f32;

fn begin(first_map: u32) {
    own = maps[first_map];
    across = maps[first_map + 1u];
    ratio_now = value(own.ratio);
}

fn four_at(first: u32) -> vec4f {
    return vec4f(value(first), value(first + 1u), value(first + 2u), value(first + 3u));
}

fn values_at(places: vec4u) -> vec4f {
    return vec4f(value(places.x), value(places.y), value(places.z), value(places.w));
}

// Means of rows, of which the first are at `first`.
fn means_of(places: vec4u, first: vec4u) -> vec4f {
    if own.means != NONE {
        return values_at(vec4u(own.means) + places);
    }
    // Eighths, because means of up to eight are not kept.
    var sum = vec4f();
    for (var i = 0u; i < across.size.by; i++) {
        sum += 0.125 * values_at(first + vec4u(i * own.mean_stride.by));
    }
    return sum / f32(across.size.by) * 8.0;
}

// What a lane loads once for its column of a tile.
struct Near { column: vec4f, mean: f32 }

fn near_of(column: u32, matrix: u32) -> Near {
    if GENERAL {
        return Near();
    }
    let whole = own.maps == 1u;
    let place = select(across.values + matrix * own.size.by, own.values, whole);
    return Near(values[place / 4u + column], value(select(own.means + matrix, own.values, whole)));
}

// The statistics of four neighbours; ones in padding, so that zeros stay zeros. If GENERAL is false, either the tensor has
// rows of whole vectors and its means are kept, or it has a value for each element.
fn statistics(at: u32, row: u32, near: Near) -> Statistics {
    let whole = own.maps == 1u;
    if !GENERAL {
        return Statistics(vec4f(value(own.values + row)), near.column, vec4f(near.mean), whole);
    }
    let first = (call.element + at - own.first) * 4u;
    let element = vec4u(first, first + 1u, first + 2u, first + 3u);
    let inside = element < vec4u(own.len);
    var found = Statistics(vec4f(1.0), vec4f(1.0), vec4f(1.0), whole);
    if whole {
        found.column = select(vec4f(1.0), four_at(own.values + first), inside);
        return found;
    }
    // Behind the end lies the next tensor's.
    let mine = min(element, vec4u(own.len - 1u));
    let rows = without(mine, own.size, own.stride);
    let column = without(mine, across.size, across.stride);
    let stride = own.mean_stride;
    let above = quotients(rows, stride);
    let matrix = quotients(above, across.size);
    let rest = rows - above * stride.by;
    let place = matrix * stride.by + rest;
    let top = matrix * (stride.by * across.size.by) + rest;
    found.row = select(vec4f(1.0), values_at(vec4u(own.values) + rows), inside);
    found.column = select(vec4f(1.0), values_at(vec4u(across.values) + column), inside);
    found.mean = select(vec4f(1.0), means_of(place, vec4u(own.values) + top), inside);
    return found;
}

// The index of an element with one axis left out.
fn without(element: vec4u, size: Divisor, stride: Divisor) -> vec4u {
    let above = quotients(element, stride);
    return quotients(above, size) * stride.by + element - above * stride.by;
}
