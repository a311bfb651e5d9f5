// output = transpose(left) * right for CPU adapters: the LANES of a subgroup hold four columns each, and the
// left matrix is loaded by one lane and broadcast to all.
// What becomes of the sums is in `finish`, which is appended.
//
// Constants: ROWS of the tile, at least 4, GROUPS of 4 LANES rows, FINISHED of the rows at once, ACCUMULATE, PADDED if
// columns are no multiple of 4, BATCH_TILES of a matrix, STEPS of a repeat, TAIL if a part may end within four steps,
// EXCESS of a folded grid. With
// SUMS, the tiles of the first columns also leave the sums of the left matrix over the inner dimension, or add them
// (ADD_SUMS).
@group(0) @binding(1) var<storage, read> left: array<vec4f>;
@group(0) @binding(2) var<storage, read> right: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;
#for q in 0..SUMS
@group(0) @binding(4) var<storage, read_write> sums: array<f32>;
#end

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    // A copy in front of all that only some lanes do: there llvmpipe reads a number once, elsewhere once for each lane.
    let shape = shape;
    let lane = id.x;
    var tile = group.y * shape.grid_width + group.x;
    // Workgroups behind the last tile, where the grid is folded: all that follows such a return is masked.
    #for e in 0..EXCESS
    if tile >= shape.tiles {
        return;
    }
    #end
    var batch = 0u;
    if BATCH_AXES > 0u {
        batch = tile / BATCH_TILES;
        tile = tile % BATCH_TILES;
    }
    let origin = origins(batch);
    let row = tile % shape.line_tiles * ROWS;
    let vector = tile / shape.line_tiles * LANES + lane;
    let safe_vector = min(vector, shape.out_width - 1u);

    var acc: array<vec4f, ROWS>;
    // Past the last row, a row takes the address of the last one.
    var out_at: array<u32, ROWS>;
    #for m in 0..ROWS
    out_at[$m] = origin.z + group.z * shape.part_len + min(row + $m, shape.rows - 1u) * shape.out_row + safe_vector;
    #end
    if ACCUMULATE == 1u {
        #for m in 0..ROWS
        acc[$m] = output[out_at[$m]];
        #end
    }
    // Quads of rows past the end are the last one.
    var left_at: array<u32, GROUPS>;
    #for g in 0..GROUPS
    left_at[$g] = origin.x + min(row / 4u + $g * LANES + lane, (shape.rows - 1u) / 4u);
    #end

    #for q in 0..SUMS
    var totals: array<vec4f, GROUPS>;
    #end
    let first = (shape.first_part + group.z) * shape.run;
    let end = min(first + shape.run, shape.steps);
    for (var k = first; k < end; k += 4u) {
        var a: array<vec4f, 4 * GROUPS>;
        var b: array<vec4f, 4>;
        #for i in 0..4
        {
            // Past the end, the last row again.
            let step = select(k + $i, min(k + $i, end - 1u), TAIL == 1u);
            var at = vec2u(step) * vec2u(shape.left_inner, shape.right_inner);
            if REPEAT_AXES > 0u {
                at = repeated(step / STEPS) + vec2u(step % STEPS) * vec2u(shape.left_inner, shape.right_inner);
            }
            b[$i] = right[origin.y + at.y + safe_vector];
            #for g in 0..GROUPS
            a[$i * GROUPS + $g] = left[at.x + left_at[$g]];
            #end
            #for t in 0..TAIL
            // Both are zeros then, because the last row might not be finite.
            b[$i] = select(vec4f(), b[$i], k + $i < end);
            #for g in 0..GROUPS
            a[$i * GROUPS + $g] = select(vec4f(), a[$i * GROUPS + $g], k + $i < end);
            #end
            #end
            #for q in 0..SUMS
            #for g in 0..GROUPS
            totals[$g] += a[$i * GROUPS + $g];
            #end
            #end
        }
        #end
        // A sum is taken up once for four steps: there are more sums than registers.
        #for m in 0..ROWS
        #for i in 0..4
        acc[$m] = fma(vec4f(subgroupBroadcast(a[$i * GROUPS + $m / (4u * LANES)][$m % 4u], $m % (4u * LANES) / 4u)), b[$i], acc[$m]);
        #end
        #end
    }

    #for q in 0..SUMS
    if tile / shape.line_tiles == 0u {
        #for g in 0..GROUPS
        #for c in 0..4
        {
            let at = row + ($g * LANES + lane) * 4u + $c;
            if at < shape.rows {
                let old = sums[at];
                sums[at] = totals[$g][$c] + select(0.0, old, ADD_SUMS == 1u);
            }
        }
        #end
        #end
    }
    #end
    if vector < shape.out_width {
        // Columns past the end are the padding of the output, which stays zero.
        let bound = select(0xffffffffu, shape.columns, PADDED == 1u);
        let inside = vec4u(vector * 4u) + vec4u(0u, 1u, 2u, 3u) < vec4u(bound);
        // So many rows at a time, with the others moved up: the text of `finish` stands here once for each of them and not for
        // each of ROWS, and compilers take their time with it. Past the last row, a row takes the address of the last
        // one. Stores go from the last row to the first, so the right value stays, and no store needs a condition of its own.
        let rows = min(ROWS, shape.rows - row);
        for (var m = 0u; m < rows; m += FINISHED) {
            #for j in 0..FINISHED
            {
                let at = out_at[0] + min(m + FINISHED - 1u - $j, rows - 1u) * shape.out_row;
                output[at] = finish(at, select(vec4f(), acc[FINISHED - 1u - $j], inside));
            }
            #end
            #for j in FINISHED..ROWS
            acc[$j - FINISHED] = acc[$j];
            #end
        }
    }
}
