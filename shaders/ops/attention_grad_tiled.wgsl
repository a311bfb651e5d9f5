// Like attention_grad.wgsl, for long sequences on GPUs: a workgroup has 32 rows of its own and loops over tiles of 32
// other rows.
struct Shape {
    work: u32,
    first: u32,
    end: u32,
    stream: u32,
    scale: f32,
    p: f32,
    keep: f32,
    adds_scores: u32,
    adds_values: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// The weights of one own row for four other rows, and the gradients of its scores.
struct Weights {
    kept: vec4f,
    slopes: vec4f,
}

fn weights_of(plane: u32, row: u32, other: u32, scores: vec4f, products: vec4f) -> Weights {
    let others = vec4u(other) + vec4u(0u, 1u, 2u, 3u);
    var queries = others;
    var keys = vec4u(row);
    if OWN_IS_QUERY != 0u {
        queries = vec4u(row);
        keys = others;
    }
    // For four queries, or for the own query.
    let rows_at = 3u * (plane * QUERY_QUADS + min(queries.x / 4u, QUERY_QUADS - 1u));
    var largest = rows[rows_at];
    var inverse = rows[rows_at + 1u];
    var mean = rows[rows_at + 2u];
    var kept: vec4f;
    if OWN_IS_QUERY != 0u {
        largest = vec4f(largest[row % 4u]);
        inverse = vec4f(inverse[row % 4u]);
        mean = vec4f(mean[row % 4u]);
        kept = kept_keys(plane, row, other);
    } else {
        kept = kept_queries(plane, others, row);
    }
    let weight = exponential(scores * shape.scale - largest) * inverse;
    let seen_weight = select(vec4f(), weight, seen(plane, queries, keys));
    return Weights(seen_weight * kept, seen_weight * (products * kept - mean) * shape.scale);
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
    let first_row = place.row + lane / 8u * 4u;
    var score_sums: array<vec4f, SCORE_LANE_SUMS>;
    var value_sums: array<vec4f, VALUE_LANE_SUMS>;
    var start = shape.first;
    var end = shape.end;
    if CAUSAL != 0u {
        if OWN_IS_QUERY != 0u {
            end = min(end, place.row + ROWS);
        } else {
            start = max(start, place.row);
        }
    }
    for (var first = start; first < end; first += BLOCK) {
        var kept = products_of_scores(place, lane, first);
        var slopes: array<vec4f, 4>;
        if SCORE_TILE > 0u {
            slopes = products_of_values(place, lane, first);
        }
        #for i in 0..4
        let both_$i = weights_of(place.plane, first_row + $i, first + lane % 8u * 4u, kept[$i], slopes[$i]);
        kept[$i] = both_$i.kept;
        slopes[$i] = both_$i.slopes;
        #end
        if VALUE_TILE > 0u {
            put_weights(lane, kept);
            workgroupBarrier();
            add_weighted_values(&value_sums, place, lane, first);
        }
        if SCORE_TILE > 0u {
            put_weights(lane, slopes);
            workgroupBarrier();
            add_weighted_scores(&score_sums, place, lane, first);
        }
    }
    #for i in 0..4
    if first_row + $i < OWN {
        let own_$i = Place(place.plane, first_row + $i, place.tile);
        #for n in 0..SCORE_LANE_ALL
        if lane % 8u + 8u * $n < SCORE_TILE && place.tile * SCORE_TILE + lane % 8u + 8u * $n < SCORE_QUADS {
            store_scores(own_$i, place.tile * SCORE_TILE + lane % 8u + 8u * $n, score_sums[4 * $n + $i]);
        }
        #end
        #for n in 0..VALUE_LANE_ALL
        if lane % 8u + 8u * $n < VALUE_TILE && place.tile * VALUE_TILE + lane % 8u + 8u * $n < VALUE_QUADS {
            store_values(own_$i, place.tile * VALUE_TILE + lane % 8u + 8u * $n, value_sums[4 * $n + $i]);
        }
        #end
    }
    #end
}
