// output = left * right for CPU adapters: the LANES of a subgroup hold four columns each, and the left
// matrix is loaded by one lane and broadcast to all.
// What becomes of the sums is in `finish`, which is appended.
//
// Constants: ROWS of the tile, GROUPS of LANES rows, FINISHED of the rows at once, ACCUMULATE, PADDED if columns are no
// multiple of 4, BATCH_TILES of a matrix, STEPS of a repeat, TAIL if the inner dimension is no multiple of 4,
// EXCESS of a folded grid.
@group(0) @binding(1) var<storage, read> left: array<vec4f>;
@group(0) @binding(2) var<storage, read> right: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> output: array<vec4f>;

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
    var left_at: array<u32, GROUPS>;
    #for g in 0..GROUPS
    left_at[$g] = origin.x + min(row + $g * LANES + lane, shape.rows - 1u) * shape.left_row;
    #end

    let first = (shape.first_part + group.z) * shape.run;
    let end = min(first + shape.run, shape.steps);
    for (var k = first; k < end; k++) {
        var at = vec2u(k, origin.y + safe_vector);
        var inner = k * 4u;
        if REPEAT_AXES > 0u {
            inner = k % STEPS * 4u;
            at = repeated(k / STEPS) + vec2u(k % STEPS, origin.y + safe_vector);
        }
        var a: array<vec4f, GROUPS>;
        #for g in 0..GROUPS
        a[$g] = left[left_at[$g] + at.x];
        #end
        var b: array<vec4f, 4>;
        #for c in 0..4
        // Past `inner`, where the left row is zero, the right matrix has no row: zeros too, because the last row again might
        // not be finite.
        b[$c] = right[at.y + min(inner + $c, shape.inner - 1u) * shape.right_inner];
        #for t in 0..TAIL
        b[$c] = select(vec4f(), b[$c], inner + $c < shape.inner);
        #end
        #end
        #for m in 0..ROWS
        #for c in 0..4
        acc[$m] = fma(vec4f(subgroupBroadcast(a[$m / LANES][$c], $m % LANES)), b[$c], acc[$m]);
        #end
        #end
    }

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
