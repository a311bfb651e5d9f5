// Like attention.wgsl, for long sequences on GPUs: a workgroup has 32 queries and one tile of their value columns,
// and loops over tiles of 32 keys. Two lanes share the softmax of a query.
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

// Per-query numbers of each lane, and the factor of each query's output.
var<workgroup> shared_numbers: array<f32, WORKGROUP>;
var<workgroup> factors: array<f32, ROWS>;

// The maximum score, and the sum of the exponentials of the differences to it, over the keys of one lane.
struct State {
    largest: f32,
    sum: f32,
}

// Turns the score products of one tile into weights. All lanes call it.
fn softmax_of(state: State, place: Place, lane: u32, first: u32) -> State {
    let row = place.row + lane / 2u;
    let own = min(row, OWN - 1u);
    let first_weight = lane / 2u * WEIGHTS + lane % 2u * 4u;
    var top = vec4f(state.largest);
    #for b in 0..4
    let key_$b = first + lane % 2u * 16u + 4u * $b;
    let is_seen_$b = seen(place.plane, vec4u(own), vec4u(key_$b) + vec4u(0u, 1u, 2u, 3u));
    let score_$b = weights[first_weight + $b] * shape.scale;
    top = max(top, select(vec4f(LOWEST), score_$b, is_seen_$b));
    #end
    shared_numbers[lane] = max(max(top.x, top.y), max(top.z, top.w));
    workgroupBarrier();
    let largest = max(shared_numbers[lane / 2u * 2u], shared_numbers[lane / 2u * 2u + 1u]);
    let factor = exponential(vec4f(state.largest - largest)).x;
    var total = vec4f();
    #for b in 0..4
    let weight_$b = select(vec4f(), exponential(score_$b - largest), is_seen_$b);
    total += weight_$b;
    weights[first_weight + $b] = weight_$b * kept_keys(place.plane, own, key_$b);
    #end
    if lane % 2u == 0u {
        factors[lane / 2u] = factor;
    }
    workgroupBarrier();
    return State(largest, fma(state.sum, factor, total.x + total.y + total.z + total.w));
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let group = workgroup.y * workgroups.x + workgroup.x;
    if group >= shape.work {
        return;
    }
    let place = place_of(group);
    let first_quad = place.tile * VALUE_TILE + lane % 8u;
    let stats_at = (place.tile * PLANES + place.plane) * OWN;
    let query = min(place.row + lane / 2u, OWN - 1u);
    var state = State(LOWEST, 0.0);
    var sums: array<vec4f, VALUE_LANE_SUMS>;
    if shape.first > 0u {
        let before = stats[stats_at + query];
        state = State(before.x, select(0.0, before.y, lane % 2u == 0u));
        #for i in 0..4
        let row_$i = min(place.row + lane / 8u * 4u + $i, OWN - 1u);
        #for n in 0..VALUE_LANE_ALL
        sums[4 * $n + $i] = stats[stats_at + row_$i].y * y[at(place.plane, row_$i, OUT_VALUES) + min(first_quad + 8u * $n, VALUE_QUADS - 1u)];
        #end
        #end
    }
    var end = shape.end;
    if CAUSAL != 0u {
        end = min(end, place.row + ROWS);
    }
    for (var first = shape.first; first < end; first += BLOCK) {
        put_weights(lane, products_of_scores(place, lane, first));
        workgroupBarrier();
        state = softmax_of(state, place, lane, first);
        #for i in 0..4
        let factor_$i = factors[lane / 8u * 4u + $i];
        #for n in 0..VALUE_LANE_ALL
        sums[4 * $n + $i] *= factor_$i;
        #end
        #end
        add_weighted_values(&sums, place, lane, first);
    }
    shared_numbers[lane] = state.sum;
    workgroupBarrier();
    if lane % 2u == 0u && place.row + lane / 2u < OWN {
        stats[stats_at + query] = vec2f(state.largest, shared_numbers[lane] + shared_numbers[lane + 1u]);
    }
    #for i in 0..4
    {
        let row = lane / 8u * 4u + $i;
        let sum = shared_numbers[2u * row] + shared_numbers[2u * row + 1u];
        // A query that attends to no key gives zeros.
        let inverse = select(1.0 / sum, 0.0, sum == 0.0);
        #for n in 0..VALUE_LANE_ALL
        if place.row + row < OWN && lane % 8u + 8u * $n < VALUE_TILE && first_quad + 8u * $n < VALUE_QUADS {
            y[at(place.plane, place.row + row, OUT_VALUES) + first_quad + 8u * $n] = inside_of(sums[4 * $n + $i] * inverse, first_quad + 8u * $n, VALUE_COLUMNS);
        }
        #end
    }
    #end
}
