// For CPU adapters: the eight lanes of a subgroup have eight rows of one plane. Each lane loads one row of a block of
// the other side and broadcasts it to all.
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

const WORKGROUP: u32 = 8u;
const GROUPS: u32 = (OWN + 7u) / 8u;

var<private> lane_of_row: u32;

fn place_of(group: u32, lane: u32) -> Place {
    lane_of_row = lane;
    let first = group % GROUPS * 8u;
    let plane = group / GROUPS % PLANES;
    let last = min(first + 7u, OWN - 1u);
    // Past the end, the last row is used.
    let row = min(first + lane, OWN - 1u);
    return Place(plane, row, group / (GROUPS * PLANES), first, last, group >= shape.work, first + lane < OWN);
}

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
