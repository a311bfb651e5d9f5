// Maxima: each view holds one axis, those of a tensor in order.

fn term_of(p: vec4f, g: vec4f, at: u32) -> vec4f {
    return statistic(p, g, least(at));
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

// The tensor: its first and its last axis.
var<private> own: View;
var<private> last: View;

fn begin(first_view: u32) {
    own = views[first_view];
    last = views[first_view + own.views - 1u];
}

// The least of what the axes hold for each of four neighbours; zeros in padding. Where GENERAL is false, the tensor has
// quads and at most two axes.
fn least(at: u32) -> vec4f {
    let first = (call.element + at - own.first) * 4u;
    let element = vec4u(first, first + 1u, first + 2u, first + 3u);
    let inside = element < vec4u(own.len);
    if !GENERAL {
        let row = quotient(first, last.size);
        let column = last.values + first - row * last.size.by;
        let four = vec4f(values[column], values[column + 1u], values[column + 2u], values[column + 3u]);
        let other = vec4f(values[own.values + row]);
        return select(vec4f(), select(min(four, other), four, own.views == 1u), inside);
    }
    var found = vec4f(LARGEST);
    var rest = min(element, vec4u(own.len - 1u));
    for (var axis = own.first_view + own.views; axis > own.first_view; axis--) {
        let size = views[axis - 1u].size;
        let above = quotients(rest, size);
        let place = views[axis - 1u].values + rest - above * size.by;
        found = min(found, vec4f(values[place.x], values[place.y], values[place.z], values[place.w]));
        rest = above;
    }
    return select(vec4f(), found, inside);
}
