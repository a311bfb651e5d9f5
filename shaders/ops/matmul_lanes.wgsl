// output = left * right + bias on GPUs, for few rows or few columns: each invocation has four rows by four columns
// and a share of the steps. The shares are added in a tree, in the order of the lanes. The sums are passed to
// `finish`, which is appended.
//
// Constants: ROW_LANES, COLUMN_LANES and STEP_LANES, powers of two whose product is LANES; LEVELS, the logarithm of
// STEP_LANES; WIDTH, the number of steps that `add_steps` processes; STEPS_FIRST if adjacent lanes have adjacent
// steps; BATCH_TILES per matrix, STEPS per repeat.
const EDGE_LANES: u32 = ROW_LANES * COLUMN_LANES;

var<workgroup> shares: array<Rows, LANES / 2u>;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    if group.y * shape.grid_width + group.x >= shape.tiles {
        return;
    }
    let work = work_of(group);
    var edge = lane % EDGE_LANES;
    var share = lane / EDGE_LANES;
    if STEPS_FIRST == 1u {
        edge = lane / STEP_LANES;
        share = lane % STEP_LANES;
    }
    let row = work.row + edge / COLUMN_LANES;
    let column = work.column + edge % COLUMN_LANES;
    let left_at = left_place(work, row);
    let right_at = right_place(work, column);
    var sums: Rows;
    for (var step = work.first + share * WIDTH; step < work.end; step += STEP_LANES * WIDTH) {
        add_steps(left_at, right_at, step, work.end, &sums);
    }
    #for level in 0..LEVELS
    {
        // The upper half stores its shares, and the lower half adds them.
        let half = STEP_LANES >> ($level + 1u);
        if share >= half && share < 2u * half {
            shares[(share - half) * EDGE_LANES + edge] = sums;
        }
        workgroupBarrier();
        if share < half {
            let other = shares[share * EDGE_LANES + edge];
            #for r in 0..4
            sums.row$r += other.row$r;
            #end
        }
        workgroupBarrier();
    }
    #end
    if share == 0u {
        let bias = bias_of(work, column);
        #for r in 0..4
        put(work, row * 4u + $r, column, sums.row$r, bias);
        #end
    }
}
