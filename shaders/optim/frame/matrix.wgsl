// Sums over rows and over columns: the first view holds the means over one axis, the second those over another.

fn term_of(p: vec4f, g: vec4f, view: u32, at: u32) -> vec4f {
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

// The mean of rows, of which the first is at `first`.
fn mean_of(view: u32, place: u32, first: u32) -> f32 {
    if views[view].means != NONE {
        return values[views[view].means + place];
    }
    let count = views[view + 1u].size.by;
    var sum = 0.0;
    for (var i = 0u; i < count; i++) {
        sum += values[first + i * views[view].mean_stride.by];
    }
    return sum / f32(count);
}

// Of four neighbours; ones in padding, so that zeros stay zeros.
fn factors(view: u32, at: u32) -> Factors {
    let first = (call.element + at - views[view].first) * 4u;
    let rows = views[view].values;
    let len = views[view].len;
    let inside = vec4u(first, first + 1u, first + 2u, first + 3u) < vec4u(len);
    if views[view].views == 1u {
        let own = vec4f(values[rows + first], values[rows + first + 1u], values[rows + first + 2u], values[rows + first + 3u]);
        return Factors(select(vec4f(1.0), own, inside), vec4f(1.0), vec4f(1.0), true);
    }
    if views[view].quads != 0u {
        if first >= len {
            return Factors(vec4f(1.0), vec4f(1.0), vec4f(1.0), false);
        }
        let size = views[view].size;
        let height = views[view + 1u].size;
        let row = quotient(first, size);
        let matrix = quotient(row, height);
        let at_column = views[view + 1u].values + matrix * size.by + first - row * size.by;
        let column = vec4f(values[at_column], values[at_column + 1u], values[at_column + 2u], values[at_column + 3u]);
        let mean = mean_of(view, matrix, rows + matrix * height.by);
        return Factors(vec4f(values[rows + row]), column, vec4f(mean), false);
    }
    // Behind the end it would be somebody else's.
    let element = min(vec4u(first, first + 1u, first + 2u, first + 3u), vec4u(len - 1u));
    let row = without(element, views[view].size, views[view].stride);
    let column = without(element, views[view + 1u].size, views[view + 1u].stride) + views[view + 1u].values;
    let stride = views[view].mean_stride;
    let height = views[view + 1u].size;
    let above = quotients(row, stride);
    let matrix = quotients(above, height);
    let rest = row - above * stride.by;
    let place = matrix * stride.by + rest;
    let top = rows + matrix * (stride.by * height.by) + rest;
    var found = Factors(vec4f(1.0), vec4f(1.0), vec4f(1.0), false);
    for (var i = 0u; i < 4u; i++) {
        if inside[i] {
            found.row[i] = values[rows + row[i]];
            found.column[i] = values[column[i]];
            found.mean[i] = mean_of(view, place[i], top[i]);
        }
    }
    return found;
}

// The index of an element where one axis is left out.
fn without(element: vec4u, size: Divisor, stride: Divisor) -> vec4u {
    let above = quotients(element, stride);
    return quotients(above, size) * stride.by + element - above * stride.by;
}
