// Partial sums of a convolution's weight gradient for CPU adapters, at any stride and dilation and in groups, as products of
// `shared/conv2d_weight_grad.wgsl`: the LANES of a subgroup hold four output channels each, and load four rows each
// of the ROWS of a tile, 4 LANES, which they broadcast to all. A row behind those of the weight is that of the bias, whose input is one.
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let lane = id.x;
    let tile = group.y * shape.grid_width + group.x;
    if tile >= shape.tiles {
        return;
    }
    let first_row = tile / shape.column_tiles % shape.row_tiles * ROWS;
    let batch = tile / shape.column_tiles / shape.row_tiles;
    let part = batch / shape.groups;
    let rows = row_vectors() * 4u + 1u;
    let work = Work(batch % shape.groups, part * rows * shape.out_vectors);
    let quad = tile % shape.column_tiles * LANES + lane;
    // Columns behind the last one are the last one, whose sums are not stored.
    let column = work.group * shape.group_out_vectors + min(quad, shape.group_out_vectors - 1u);
    let is_bias = first_row / 4u + lane >= row_vectors();
    let left = left_place(work, first_row / 4u + lane);

    var acc: array<vec4f, ROWS>;
    let first = (shape.first_part + part) * shape.run;
    let end = min(first + shape.run, shape.pixels);
    var x = first % shape.out_width;
    var y = first / shape.out_width % shape.out_height;
    var image = first / shape.out_width / shape.out_height;
    for (var k = first; k < end; k += 4u) {
        var a: array<vec4f, 4>;
        var b: array<vec4f, 4>;
        #for i in 0..4
        {
            let in_y = y * shape.stride_y + left.y;
            let in_x = x * shape.stride_x + left.x;
            // Past the end, both are zeros. Sums that wrap below zero lie outside too.
            let is_step = k + $i < end;
            let inside = is_step && !is_bias && in_y < shape.height && in_x < shape.width;
            let at = ((image * shape.height + in_y) * shape.width + in_x) * shape.channel_vectors + left.channel;
            a[$i] = select(vec4f(), input[select(0u, at, inside)], inside);
            a[$i] = select(a[$i], vec4f(1.0), is_bias && is_step);
            b[$i] = select(vec4f(), output_grad[min(k + $i, end - 1u) * shape.out_vectors + column], is_step);
            x += 1u;
            let next_row = x == shape.out_width;
            x = select(x, 0u, next_row);
            y += u32(next_row);
            let next_image = y == shape.out_height;
            y = select(y, 0u, next_image);
            image += u32(next_image);
        }
        #end
        #for m in 0..ROWS
        #for i in 0..4
        acc[$m] = fma(vec4f(subgroupBroadcast(a[$i][$m % 4u], $m / 4u)), b[$i], acc[$m]);
        #end
        #end
    }

    // Past the last row, a row takes the address of the last one. Stores go from the last row to the first, so the right
    // value stays, and no store needs a condition of its own.
    if quad < shape.group_out_vectors {
        #for m in 0..ROWS
        partials[work.at + min(first_row + ROWS - 1u - $m, rows - 1u) * shape.out_vectors + column] = acc[ROWS - 1u - $m];
        #end
    }
}
