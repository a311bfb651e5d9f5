// Gathers the values that stand for a tensor, or pieces of them: an invocation takes every `pieces`-th term of one output
// or of four neighbouring ones, as far as they lie in the window.
struct Entry { view: u32, first: u32, parts: u32 }

@group(0) @binding(3) var<storage, read> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;
@group(0) @binding(5) var<storage, read> views: array<View>;
@group(0) @binding(6) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(7) var<storage, read> entries: array<Entry>;
@group(0) @binding(8) var<storage, read_write> parts: array<f32>;

fn put(entry: Entry, piece: u32, output: u32, total: f32) {
    if entry.parts == NONE {
        let at = views[entry.view].values + output;
        values[at / 4u][at % 4u] = finished(value(at), total, views[entry.view].size.by);
    } else {
        parts[entry.parts + piece * views[entry.view].outputs + output] = total;
    }
}

fn term(at: u32) -> vec4f {
    let p = params[at];
    return statistic(p, gradient(grads[at], p, at));
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
    let end = arrayLength(&grads);
    var total = vec4f();
    if GENERAL {
        for (var i = piece; i < view.terms; i += view.pieces) {
            let above = quotient(i, view.term);
            let element = origin + above * view.term_outer + (i - above * view.term.by) * view.term_inner;
            let at = start + element / 4u;
            if at < end {
                var x = term(at);
                if view.four == ONE {
                    x = vec4f(x[element % 4u], 0.0, 0.0, 0.0);
                }
                total = gathered(total, x);
            }
        }
    } else {
        for (var i = piece; i < view.terms; i += view.pieces) {
            let at = start + (origin + i * view.term_outer) / 4u;
            if at < end {
                total = gathered(total, term(at));
            }
        }
    }
    if view.four == FOUR_OUTPUTS {
        put(entry, piece, output * 4u, total.x);
        put(entry, piece, output * 4u + 1u, total.y);
        put(entry, piece, output * 4u + 2u, total.z);
        put(entry, piece, output * 4u + 3u, total.w);
    } else {
        put(entry, piece, output, folded(total));
    }
}
