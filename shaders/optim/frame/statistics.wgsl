// Gathers the values that stand for a tensor, or pieces of them: an invocation takes every `pieces`-th term of one output
// or of four neighbouring ones, as far as they lie in the window.
struct Entry { view: u32, first: u32, parts: u32 }

@group(0) @binding(3) var<storage, read> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;
@group(0) @binding(5) var<storage, read> views: array<View>;
@group(0) @binding(6) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(7) var<storage, read> entries: array<Entry>;
@group(0) @binding(8) var<storage, read_write> parts: array<f32>;

fn put(entry: Entry, piece: u32, output: u32, low: f32, high: f32) {
    if entry.parts == NONE {
        let at = views[entry.view].values + output;
        values[at / 4u][at % 4u] = finished(value(at), low, high, views[entry.view].size.by);
    } else {
        parts[entry.parts + piece * views[entry.view].outputs + output] = packed(low, high);
    }
}

fn term(at: u32) -> vec4f {
    let p = params[at];
    return statistic(p, gradient(grads[at], p, at));
}

// Terms of an output before an element of the tensor: they follow each other in its order.
fn terms_before(view: View, origin: u32, element: u32) -> u32 {
    if element <= origin {
        return 0u;
    }
    if view.terms == 1u {
        return 1u;
    }
    let beyond = element - origin;
    if view.term.by == 1u {
        return min(view.terms, (beyond - 1u) / view.term_outer + 1u);
    }
    let above = beyond / view.term_outer;
    let rest = beyond - above * view.term_outer;
    let within = select(0u, (rest - 1u) / view.term_inner + 1u, rest > 0u);
    return min(view.terms, above * view.term.by + min(within, view.term.by));
}

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    // Before anything is decided: then one load serves all lanes.
    let entry = entries[call.first + number];
    let view = views[entry.view];
    begin(view.first_view);
    let thread = entry.first + lane;
    if number >= call.len || gate.skip != 0u || thread >= view.units * view.pieces {
        return;
    }
    // Neighbours take what is neighbouring.
    let along = view.four == FOUR_TERMS;
    let divisor = select(view.units, view.pieces, along);
    let quotient_of = thread / divisor;
    let rest = thread - quotient_of * divisor;
    let output = select(rest, quotient_of, along);
    let piece = select(quotient_of, rest, along);
    let above_output = output / view.output_by;
    let origin = above_output * view.output_outer + (output - above_output * view.output_by) * view.output_inner;
    let start = view.first - call.element;
    // What the window has of the tensor, in vectors: from its own first, or the tensor's.
    let before = select(0u, call.element - view.first, i32(call.element - view.first) > 0);
    let inside = arrayLength(&grads) - select(view.first - call.element, 0u, before > 0u);
    let len = (view.len - 1u) / 4u + 1u;
    var first_term = 0u;
    var end_term = view.terms;
    if before > 0u || before + inside < len {
        first_term = terms_before(view, origin, before * 4u);
        end_term = select(terms_before(view, origin, (before + inside) * 4u), view.terms, before + inside >= len);
    }
    var total = Gathered(vec4f(), vec4f());
    if GENERAL {
        for (var i = first_term + piece; i < end_term; i += view.pieces) {
            let above = quotient(i, view.term);
            let element = origin + above * view.term_outer + (i - above * view.term.by) * view.term_inner;
            var x = term(start + element / 4u);
            if view.four == ONE {
                x = vec4f(x[element % 4u], 0.0, 0.0, 0.0);
            }
            total = gathered(total, x);
        }
    } else {
        for (var i = first_term + piece; i < end_term; i += view.pieces) {
            total = gathered(total, term(start + (origin + i * view.term_outer) / 4u));
        }
    }
    if view.four == FOUR_OUTPUTS {
        put(entry, piece, output * 4u, total.low.x, total.high.x);
        put(entry, piece, output * 4u + 1u, total.low.y, total.high.y);
        put(entry, piece, output * 4u + 2u, total.low.z, total.high.z);
        put(entry, piece, output * 4u + 3u, total.low.w, total.high.w);
    } else {
        put(entry, piece, output, folded(total.low), folded(total.high));
    }
}
