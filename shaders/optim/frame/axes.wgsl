// Maxima: each view holds one axis, those of a tensor in order.

fn term_of(p: vec4f, g: vec4f, view: u32, at: u32) -> vec4f {
    return statistic(p, g, least(views[view].first_view, at));
}

fn gathered(a: vec4f, b: vec4f) -> vec4f {
    return max(a, b);
}

fn folded(x: vec4f) -> f32 {
    return max(max(x.x, x.y), max(x.z, x.w));
}

fn finished(old: f32, total: f32, count: u32) -> f32 {
    return total;
}

// The least of what the axes hold for each of four neighbours; zeros in padding.
fn least(view: u32, at: u32) -> vec4f {
    let first = (call.element + at - views[view].first) * 4u;
    let len = views[view].len;
    let element = vec4u(first, first + 1u, first + 2u, first + 3u);
    let last = view + views[view].views - 1u;
    var found = vec4f(LARGEST);
    if views[view].quads != 0u {
        if first >= len {
            return vec4f();
        }
        var rest = quotient(first, views[last].size);
        let own = views[last].values + first - rest * views[last].size.by;
        found = vec4f(values[own], values[own + 1u], values[own + 2u], values[own + 3u]);
        for (var axis = last; axis > view; axis--) {
            let above = quotient(rest, views[axis - 1u].size);
            found = min(found, vec4f(values[views[axis - 1u].values + rest - above * views[axis - 1u].size.by]));
            rest = above;
        }
        return found;
    }
    var rest = min(element, vec4u(len - 1u));
    for (var axis = last + 1u; axis > view; axis--) {
        let above = quotients(rest, views[axis - 1u].size);
        let own = views[axis - 1u].values + rest - above * views[axis - 1u].size.by;
        found = min(found, vec4f(values[own.x], values[own.y], values[own.z], values[own.w]));
        rest = above;
    }
    return select(vec4f(), found, element < vec4u(len));
}
