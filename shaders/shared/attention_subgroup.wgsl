// For CPU adapters: the LANES of a subgroup have as many rows of one plane, load a block of rows of the other side together,
// and broadcast them to all. A block is AT_ONCE one load of each lane, of which wider subgroups use the first BLOCK lanes, or
// IN_SEVERAL, LOADS of them.
struct Place {
    plane: u32,
    row: u32,
    tile: u32,
    // The first and the last row of the rows processed together.
    first_row: u32,
    last_row: u32,
    is_beyond: bool,
    is_inside: bool,
}

const WORKGROUP: u32 = LANES;
const GROUPS: u32 = (OWN + LANES - 1u) / LANES;

var<private> lane_of_row: u32;

fn place_of(group: u32, lane: u32) -> Place {
    lane_of_row = lane;
    let first = group % GROUPS * LANES;
    let plane = group / GROUPS % PLANES;
    let last = min(first + LANES - 1u, OWN - 1u);
    // Past the end, the last row is used.
    let row = min(first + lane, OWN - 1u);
    return Place(plane, row, group / (GROUPS * PLANES), first, last, group >= shape.work, first + lane < OWN);
}

#for a in 0..AT_ONCE
fn score_mine(others: u32, first: u32, quad: u32) -> vec4f {
    return other_scores[others + min(first + lane_of_row, OTHER - 1u) * OTHER_SCORES.w + quad];
}

fn value_mine(others: u32, first: u32, quad: u32) -> vec4f {
    return other_values[others + min(first + lane_of_row, OTHER - 1u) * OTHER_VALUES.w + quad];
}

#for j in 0..BLOCK
fn score_row_$j(mine: vec4f, others: u32, first: u32, quad: u32) -> vec4f {
    return subgroupBroadcast(mine, u32($j));
}

fn value_row_$j(mine: vec4f, others: u32, first: u32, quad: u32) -> vec4f {
    return subgroupBroadcast(mine, u32($j));
}
#end
#end
#for s in 0..IN_SEVERAL
fn score_mine(others: u32, first: u32, quad: u32) -> array<vec4f, LOADS> {
    var mine: array<vec4f, LOADS>;
    #for i in 0..LOADS
    mine[$i] = other_scores[others + min(first + $i * LANES + lane_of_row, OTHER - 1u) * OTHER_SCORES.w + quad];
    #end
    return mine;
}

fn value_mine(others: u32, first: u32, quad: u32) -> array<vec4f, LOADS> {
    var mine: array<vec4f, LOADS>;
    #for i in 0..LOADS
    mine[$i] = other_values[others + min(first + $i * LANES + lane_of_row, OTHER - 1u) * OTHER_VALUES.w + quad];
    #end
    return mine;
}

#for j in 0..BLOCK
fn score_row_$j(mine: array<vec4f, LOADS>, others: u32, first: u32, quad: u32) -> vec4f {
    return subgroupBroadcast(mine[$j / LANES], $j % LANES);
}

fn value_row_$j(mine: array<vec4f, LOADS>, others: u32, first: u32, quad: u32) -> vec4f {
    return subgroupBroadcast(mine[$j / LANES], $j % LANES);
}
#end
#end
