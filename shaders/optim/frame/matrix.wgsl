// Sums over rows and over columns: the first view holds the means over one axis, the second those over another.

fn value(place: u32) -> f32 {
    return values[place / 4u][place % 4u];
}

fn gathered(a: vec4f, b: vec4f) -> vec4f {
    return a + b;
}

fn folded(x: vec4f) -> f32 {
    return (x.x + x.y) + (x.z + x.w);
}

// Held at the largest number: an infinite average would never come back.
fn finished(old: f32, total: f32, count: u32) -> f32 {
    return renewed(old, min(total, LARGEST.x) / f32(count));
}

// The tensor: its views of rows and of columns, and its ratio.
var<private> own: View;
var<private> across: View;
var<private> ratio_now: f32;

fn begin(first_view: u32) {
    own = views[first_view];
    across = views[first_view + 1u];
    ratio_now = value(own.ratio);
}

fn four_at(first: u32) -> vec4f {
    return vec4f(value(first), value(first + 1u), value(first + 2u), value(first + 3u));
}

// The mean of rows, of which the first is at `first`.
fn mean_of(place: u32, first: u32) -> f32 {
    if own.means != NONE {
        return value(own.means + place);
    }
    var sum = 0.0;
    for (var i = 0u; i < across.size.by; i++) {
        sum += value(first + i * own.mean_stride.by);
    }
    return sum / f32(across.size.by);
}

// What a lane finds once for its column of a tile.
struct Near { column: vec4f, mean: f32 }

fn near_of(column: u32, matrix: u32) -> Near {
    if GENERAL {
        return Near();
    }
    let whole = own.views == 1u;
    let place = select(across.values + matrix * own.size.by, own.values, whole);
    return Near(values[place / 4u + column], value(select(own.means + matrix, own.values, whole)));
}

// Of four neighbours; ones in padding, so that zeros stay zeros. Where GENERAL is false, the tensor has rows of whole
// vectors and its means are kept, or it has a value for each element.
fn factors(at: u32, row: u32, near: Near) -> Factors {
    let whole = own.views == 1u;
    if !GENERAL {
        return Factors(vec4f(value(own.values + row)), near.column, vec4f(near.mean), whole);
    }
    let first = (call.element + at - own.first) * 4u;
    let element = vec4u(first, first + 1u, first + 2u, first + 3u);
    let inside = element < vec4u(own.len);
    var found = Factors(vec4f(1.0), vec4f(1.0), vec4f(1.0), whole);
    if whole {
        found.column = select(vec4f(1.0), four_at(own.values + first), inside);
        return found;
    }
    // Behind the end it would be somebody else's.
    let mine = min(element, vec4u(own.len - 1u));
    let rows = without(mine, own.size, own.stride);
    let column = without(mine, across.size, across.stride);
    let stride = own.mean_stride;
    let above = quotients(rows, stride);
    let matrix = quotients(above, across.size);
    let rest = rows - above * stride.by;
    let place = matrix * stride.by + rest;
    let top = matrix * (stride.by * across.size.by) + rest;
    for (var i = 0u; i < 4u; i++) {
        if inside[i] {
            found.row[i] = value(own.values + rows[i]);
            found.column[i] = value(across.values + column[i]);
            found.mean[i] = mean_of(place[i], own.values + top[i]);
        }
    }
    return found;
}

// The index of an element where one axis is left out.
fn without(element: vec4u, size: Divisor, stride: Divisor) -> vec4u {
    let above = quotients(element, stride);
    return quotients(above, size) * stride.by + element - above * stride.by;
}
