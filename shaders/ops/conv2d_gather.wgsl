// Convolution of NHWC activations for CPU adapters, at any stride and dilation, as a product of `shared/conv2d_work.wgsl`: the
// LANES of a subgroup hold four output channels each, and four of the ROWS positions of a tile, whose pixels they gather
// for each tap and broadcast to all. What becomes of the sums is in `finish`, which is appended.
//
// Constants: ROWS, 4 LANES; PHASED for the input gradient, ACCUMULATE. Steps of a part are counted in vec4s of input channels.
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let lane = id.x;
    let tile = group.y * shape.grid_width + group.x;
    if tile >= shape.tiles {
        return;
    }
    let first_row = tile / shape.column_tiles % shape.row_tiles * ROWS;
    let work = work_of(tile / shape.column_tiles / shape.row_tiles, shape.first_part + group.z);
    // Phases have different numbers of positions.
    let rows = shape.images * work.size.x * work.size.y;
    if first_row >= rows {
        return;
    }
    let quad = tile % shape.column_tiles * LANES + lane;
    // Columns behind the last one are the last one, whose sums are not stored.
    let column = work.group * shape.group_out_vectors + min(quad, shape.group_out_vectors - 1u);

    // Of four positions: what each reads for the first tap, the vec4 of the group's first channels there, and the pixel that
    // it writes. Past the last position, a position is the last one.
    let scale = select(vec2u(1u), vec2u(shape.phases_x, shape.phases_y), PHASED == 1u);
    var y: vec4u;
    var x: vec4u;
    var at: vec4u;
    var writes: vec4u;
    #for r in 0..4
    {
        let row = min(first_row + lane * 4u + $r, rows - 1u);
        let line = row / work.size.x;
        let image = line / work.size.y;
        let place = vec2u(row % work.size.x, line % work.size.y);
        y[$r] = place.y * shape.stride_y + work.source.y;
        x[$r] = place.x * shape.stride_x + work.source.x;
        at[$r] = ((image * shape.height + y[$r]) * shape.width + x[$r]) * shape.channel_vectors
            + work.group * shape.group_vectors;
        let written = place * scale + work.phase;
        writes[$r] = (image * shape.out_height + written.y) * shape.out_width + written.x;
    }
    #end
    var out_at: array<u32, ROWS>;
    #for m in 0..ROWS
    out_at[$m] = group.z * shape.part_len + subgroupBroadcast(writes[$m % 4u], $m / 4u) * shape.out_vectors + column;
    #end

    var acc: array<vec4f, ROWS>;
    let bias_row = shape.kernel_height * shape.kernel_width * shape.group_vectors * 4u;
    let bias = select(vec4f(), weight[bias_row * shape.out_vectors + column], work.part == 0u);
    #for m in 0..ROWS
    acc[$m] = bias;
    #end
    if ACCUMULATE == 1u {
        #for m in 0..ROWS
        acc[$m] += output[out_at[$m]];
        #end
    }

    let weight_at = work.weight_row * shape.out_vectors + column;
    let first = min(work.part * shape.run, work.steps / 4u);
    let end = min(first + shape.run, work.steps / 4u);
    var vector = first % shape.group_vectors;
    var tap = vec2u(first / shape.group_vectors % work.row_taps, first / shape.group_vectors / work.row_taps);
    for (var k = first; k < end; k++) {
        let shift = tap * vec2u(shape.step_x, shape.step_y);
        // Sums that wrap below zero lie outside too.
        let inside = (y + shift.y < vec4u(shape.height)) & (x + shift.x < vec4u(shape.width));
        let read_at = at + (shift.y * shape.width + shift.x) * shape.channel_vectors + vector;
        var a: array<vec4f, 4>;
        #for r in 0..4
        a[$r] = select(vec4f(), input[select(0u, read_at[$r], inside[$r])], inside[$r]);
        #end
        var b: array<vec4f, 4>;
        #for c in 0..4
        b[$c] = weight[weight_at + (k * 4u + $c) * shape.out_vectors];
        #end
        #for m in 0..ROWS
        #for c in 0..4
        acc[$m] = fma(vec4f(subgroupBroadcast(a[$m % 4u][$c], $m / 4u)), b[$c], acc[$m]);
        #end
        #end
        vector += 1u;
        let next_tap = vector == shape.group_vectors;
        vector = select(vector, 0u, next_tap);
        tap.x += u32(next_tap);
        let next_row = tap.x == work.row_taps;
        tap = select(tap, vec2u(0u, tap.y + 1u), next_row);
    }

    // Stores go from the last position to the first, so the right value stays, and no store needs a condition of its own.
    if quad < shape.group_out_vectors {
        #for m in 0..ROWS
        output[out_at[ROWS - 1u - $m]] = finish(out_at[ROWS - 1u - $m], acc[ROWS - 1u - $m]);
        #end
    }
}
