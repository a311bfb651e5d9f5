// Sums over rows and over columns: the first view holds the means over one axis, the second those over another.

fn term_of(p: vec4f, g: vec4f, at: u32) -> vec4f {
    return statistic(p, g);
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
    ratio_now = values[own.ratio];
}

fn four_at(first: u32) -> vec4f {
    return vec4f(values[first], values[first + 1u], values[first + 2u], values[first + 3u]);
}

// The mean of rows, of which the first is at `first`.
fn mean_of(place: u32, first: u32) -> f32 {
    if own.means != NONE {
        return values[own.means + place];
    }
    var sum = 0.0;
    for (var i = 0u; i < across.size.by; i++) {
        sum += values[first + i * own.mean_stride.by];
    }
    return sum / f32(across.size.by);
}

// Of four neighbours; ones in padding, so that zeros stay zeros. Where GENERAL is false, the tensor has quads and its
// means are kept, or it has a value for each element.
fn factors(at: u32) -> Factors {
    let first = (call.element + at - own.first) * 4u;
    let element = vec4u(first, first + 1u, first + 2u, first + 3u);
    let inside = element < vec4u(own.len);
    let whole = own.views == 1u;
    if !GENERAL {
        let row = quotient(first, own.size);
        let matrix = quotient(row, across.size);
        let column = across.values + matrix * own.size.by + first - row * own.size.by;
        let four = four_at(select(column, own.values + first, whole));
        let found = select(vec4f(values[own.values + row]), four, whole);
        let mean = values[select(own.means + matrix, own.values, whole)];
        return Factors(
            select(vec4f(1.0), found, inside),
            select(vec4f(1.0), four, inside),
            select(vec4f(1.0), vec4f(mean), inside),
            whole,
        );
    }
    var found = Factors(vec4f(1.0), vec4f(1.0), vec4f(1.0), whole);
    if whole {
        found.row = select(vec4f(1.0), four_at(own.values + first), inside);
        return found;
    }
    // Behind the end it would be somebody else's.
    let mine = min(element, vec4u(own.len - 1u));
    let row = without(mine, own.size, own.stride);
    let column = without(mine, across.size, across.stride);
    let stride = own.mean_stride;
    let above = quotients(row, stride);
    let matrix = quotients(above, across.size);
    let rest = row - above * stride.by;
    let place = matrix * stride.by + rest;
    let top = matrix * (stride.by * across.size.by) + rest;
    for (var i = 0u; i < 4u; i++) {
        if inside[i] {
            found.row[i] = values[own.values + row[i]];
            found.column[i] = values[across.values + column[i]];
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
