// Sums of value rows, weighted by the softmax of a query's scores: one query and one tile of its value columns per
// invocation. The softmax is computed online, over blocks of keys. With many keys, each dispatch processes a range
// and continues from the maximum score and the sum of exponentials that the previous one stored.
struct Shape {
    work: u32,
    first: u32,
    end: u32,
    stream: u32,
    scale: f32,
    p: f32,
    keep: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// The maximum score, and the sum of the exponentials of the differences to it.
struct State {
    largest: f32,
    sum: f32,
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let place = place_of(workgroup.y * workgroups.x + workgroup.x, lane);
    if place.is_beyond {
        return;
    }
    let own = at(place.plane, place.row, OWN_SCORES);
    let keys = at(place.plane, 0u, OTHER_SCORES);
    let values = at(place.plane, 0u, OTHER_VALUES) + place.tile * VALUE_TILE;
    let output = at(place.plane, place.row, OUT_VALUES) + place.tile * VALUE_TILE;
    let stats_at = (place.tile * PLANES + place.plane) * OWN + place.row;
    var state = State(LOWEST, 0.0);
    var acc: array<vec4f, VALUE_TILE>;
    if shape.first > 0u {
        state = State(stats[stats_at].x, stats[stats_at].y);
        #for e in 0..VALUE_TILE
        acc[$e] = state.sum * y[output + min($e, VALUE_QUADS - 1u - place.tile * VALUE_TILE)];
        #end
    }
    var end = shape.end;
    if CAUSAL != 0u {
        end = min(end, place.last_row + 1u);
    }
    for (var first = shape.first; first < end; first += BLOCK) {
        var scores: array<vec4f, QUADS>;
        add_scores(&scores, own, keys, first);
        var is_seen: array<vec4<bool>, QUADS>;
        var top = vec4f(state.largest);
        #for b in 0..QUADS
        let keys_$b = vec4u(first + 4u * $b) + vec4u(0u, 1u, 2u, 3u);
        is_seen[$b] = seen(place.plane, vec4u(place.row), keys_$b);
        scores[$b] *= shape.scale;
        top = max(top, select(vec4f(LOWEST), scores[$b], is_seen[$b]));
        #end
        let largest = max(max(top.x, top.y), max(top.z, top.w));
        let factor = exponential(vec4f(state.largest - largest)).x;
        var weights: array<vec4f, QUADS>;
        var total = vec4f();
        #for b in 0..QUADS
        weights[$b] = select(vec4f(), exponential(scores[$b] - largest), is_seen[$b]);
        total += weights[$b];
        weights[$b] *= kept_keys(place.plane, place.row, first + 4u * $b);
        #end
        state = State(largest, fma(state.sum, factor, total.x + total.y + total.z + total.w));
        #for e in 0..VALUE_TILE
        acc[$e] = fma(acc[$e], vec4f(factor), weighted_values(weights, values, first, $e));
        #end
    }
    if !place.is_inside {
        return;
    }
    stats[stats_at] = vec2f(state.largest, state.sum);
    // A query that attends to no key gives zeros.
    let inverse = select(1.0 / state.sum, 0.0, state.sum == 0.0);
    #for e in 0..VALUE_TILE
    if place.tile * VALUE_TILE + $e < VALUE_QUADS {
        y[output + $e] = inside_of(acc[$e] * inverse, place.tile * VALUE_TILE + $e, VALUE_COLUMNS);
    }
    #end
}
