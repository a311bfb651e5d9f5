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
    var output = thread % view.units;
    var piece = thread / view.units;
    if view.four == FOUR_TERMS {
        output = thread / view.pieces;
        piece = thread % view.pieces;
    }
    let origin = output / view.output_by * view.output_outer + output % view.output_by * view.output_inner;
    let start = view.first - call.element;
    let end = arrayLength(&grads);
    var total = vec4f();
    for (var i = piece; i < view.terms; i += view.pieces) {
        var element = origin + i * view.term_outer;
        if GENERAL && view.term.by != 1u {
            let above = quotient(i, view.term);
            element = origin + above * view.term_outer + (i - above * view.term.by) * view.term_inner;
        }
        let at = start + element / 4u;
        if at < end {
            let p = params[at];
            let place = select(vec2u(output, i), vec2u(i, output), view.four == FOUR_OUTPUTS);
            var x = term_of(p, gradient(grads[at], p, at), at, place);
            if GENERAL && view.four == ONE {
                x = vec4f(x[element % 4u], 0.0, 0.0, 0.0);
            }
            total = gathered(total, x);
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
