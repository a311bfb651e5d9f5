// The gradients of attention: of one query per invocation over blocks of keys, or of one key and value per invocation
// over blocks of queries. The attention weights are recomputed. The weighted sums are over the rows of the other
// side.
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

fn add_value_products(s: ptr<function, array<vec4f, QUADS>>, own: u32, others: u32, first: u32) {
    for (var d = 0u; d < VALUE_QUADS; d += VALUE_UNROLL) {
        #for u in 0..VALUE_UNROLL
        {
            let quad = own_values[own + d + $u];
            let mine = value_mine(others, first, d + $u);
            #for j in 0..BLOCK
            (*s)[$j / 4][$j % 4] = product(quad, value_row_$j(mine, others, first, d + $u), (*s)[$j / 4][$j % 4]);
            #end
        }
        #end
    }
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
    let own_score = at(place.plane, place.row, OWN_SCORES);
    let own_value = at(place.plane, place.row, OWN_VALUES);
    let other_score = at(place.plane, 0u, OTHER_SCORES);
    let other_value = at(place.plane, 0u, OTHER_VALUES);
    var score_sums: array<vec4f, SCORE_SUMS>;
    var value_sums: array<vec4f, VALUE_SUMS>;
    var start = shape.first;
    var end = shape.end;
    if CAUSAL != 0u {
        if OWN_IS_QUERY != 0u {
            end = min(end, place.last_row + 1u);
        } else {
            start = max(start, place.first_row / BLOCK * BLOCK);
        }
    }
    for (var first = start; first < end; first += BLOCK) {
        var scores: array<vec4f, QUADS>;
        add_scores(&scores, own_score, other_score, first);
        var products: array<vec4f, QUADS>;
        if SCORE_TILE > 0u {
            add_value_products(&products, own_value, other_value, first);
        }
        var weights: array<vec4f, QUADS>;
        #for b in 0..QUADS
        {
            let others = vec4u(first + 4u * $b) + vec4u(0u, 1u, 2u, 3u);
            let own = vec4u(place.row);
            var queries = others;
            var keys = own;
            if OWN_IS_QUERY != 0u {
                queries = own;
                keys = others;
            }
            // For four queries, or for the invocation's own query.
            let rows_at = 3u * (place.plane * QUERY_QUADS + min(queries.x / 4u, QUERY_QUADS - 1u));
            var largest = rows[rows_at];
            var inverse = rows[rows_at + 1u];
            var mean = rows[rows_at + 2u];
            if OWN_IS_QUERY != 0u {
                largest = vec4f(largest[place.row % 4u]);
                inverse = vec4f(inverse[place.row % 4u]);
                mean = vec4f(mean[place.row % 4u]);
            }
            let weight = exponential(scores[$b] * shape.scale - largest) * inverse;
            weights[$b] = select(vec4f(), weight, seen(place.plane, queries, keys));
            var kept: vec4f;
            if OWN_IS_QUERY != 0u {
                kept = kept_keys(place.plane, place.row, others.x);
            } else {
                kept = kept_queries(place.plane, others, place.row);
            }
            products[$b] = weights[$b] * (products[$b] * kept - mean) * shape.scale;
            weights[$b] *= kept;
        }
        #end
        #for e in 0..SCORE_TILE
        score_sums[$e] += weighted_scores(products, other_score + place.tile * SCORE_TILE, first, $e);
        #end
        #for e in 0..VALUE_TILE
        value_sums[$e] += weighted_values(weights, other_value + place.tile * VALUE_TILE, first, $e);
        #end
    }
    if !place.is_inside {
        return;
    }
    #for e in 0..SCORE_TILE
    if place.tile * SCORE_TILE + $e < SCORE_QUADS {
        store_scores(place, place.tile * SCORE_TILE + $e, score_sums[$e]);
    }
    #end
    #for e in 0..VALUE_TILE
    if place.tile * VALUE_TILE + $e < VALUE_QUADS {
        store_values(place, place.tile * VALUE_TILE + $e, value_sums[$e]);
    }
    #end
}
