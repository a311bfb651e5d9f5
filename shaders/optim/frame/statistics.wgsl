// Gathers a tensor's statistics, or pieces of them: an invocation reads every `pieces`-th term of one output or of four
// adjacent ones, as far as they lie in the window.
struct Entry { map: u32, first: u32, parts: u32 }

@group(0) @binding(3) var<storage, read> params: array<vec4f>;
@group(0) @binding(4) var<storage, read> grads: array<vec4f>;
@group(0) @binding(5) var<storage, read> maps: array<IndexMap>;
@group(0) @binding(6) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(7) var<storage, read> entries: array<Entry>;
@group(0) @binding(8) var<storage, read_write> parts: array<f32>;

fn put(entry: Entry, piece: u32, output: u32, low: f32, high: f32) {
    if entry.parts == NONE {
        let at = maps[entry.map].values + output;
        values[at / 4u][at % 4u] = finished(value(at), low, high, maps[entry.map].size.by);
    } else {
        parts[entry.parts + piece * maps[entry.map].outputs + output] = packed(low, high);
    }
}

fn term(at: u32) -> vec4f {
    let p = params[at];
    return statistic(p, gradient(grads[at], p, at));
}

// Terms of an output before an element of the tensor: they follow each other in its order.
fn terms_before(map: IndexMap, origin: u32, element: u32) -> u32 {
    if element <= origin {
        return 0u;
    }
    if map.terms == 1u {
        return 1u;
    }
    let beyond = element - origin;
    if map.term.by == 1u {
        return min(map.terms, (beyond - 1u) / map.term_outer + 1u);
    }
    let above = beyond / map.term_outer;
    let rest = beyond - above * map.term_outer;
    let within = select(0u, (rest - 1u) / map.term_inner + 1u, rest > 0u);
    return min(map.terms, above * map.term.by + min(within, map.term.by));
}

@compute @workgroup_size(128)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = workgroup.y * workgroups.x + workgroup.x;
    // Loaded before any branch, so that one load serves all lanes.
    let entry = entries[call.first + number];
    let map = maps[entry.map];
    begin(map.first_map);
    let thread = entry.first + lane;
    if number >= call.len || gate.skip != 0u || thread >= map.units * map.pieces {
        return;
    }
    // Adjacent invocations read adjacent terms.
    let along = map.four == FOUR_TERMS;
    let divisor = select(map.units, map.pieces, along);
    let quotient_of = thread / divisor;
    let rest = thread - quotient_of * divisor;
    let output = select(rest, quotient_of, along);
    let piece = select(quotient_of, rest, along);
    let above_output = output / map.output_by;
    let origin = above_output * map.output_outer + (output - above_output * map.output_by) * map.output_inner;
    let start = map.first - call.element;
    // What the window has of the tensor, in vectors: from its own first, or the tensor's.
    let before = select(0u, call.element - map.first, i32(call.element - map.first) > 0);
    let inside = arrayLength(&grads) - select(map.first - call.element, 0u, before > 0u);
    let len = (map.len - 1u) / 4u + 1u;
    var first_term = 0u;
    var end_term = map.terms;
    if before > 0u || before + inside < len {
        first_term = terms_before(map, origin, before * 4u);
        end_term = select(terms_before(map, origin, (before + inside) * 4u), map.terms, before + inside >= len);
    }
    var total = Gathered(vec4f(), vec4f());
    if GENERAL {
        for (var i = first_term + piece; i < end_term; i += map.pieces) {
            let above = quotient(i, map.term);
            let element = origin + above * map.term_outer + (i - above * map.term.by) * map.term_inner;
            var x = term(start + element / 4u);
            if map.four == ONE {
                x = vec4f(x[element % 4u], 0.0, 0.0, 0.0);
            }
            total = gathered(total, x);
        }
    } else {
        for (var i = first_term + piece; i < end_term; i += map.pieces) {
            total = gathered(total, term(start + (origin + i * map.term_outer) / 4u));
        }
    }
    if map.four == FOUR_OUTPUTS {
        put(entry, piece, output * 4u, total.low.x, total.high.x);
        put(entry, piece, output * 4u + 1u, total.low.y, total.high.y);
        put(entry, piece, output * 4u + 2u, total.low.z, total.high.z);
        put(entry, piece, output * 4u + 3u, total.low.w, total.high.w);
    } else {
        put(entry, piece, output, folded(total.low), folded(total.high));
    }
}
