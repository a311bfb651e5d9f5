// Each invocation loads the rows of the other side itself.
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

const WORKGROUP: u32 = 64u;

fn place_of(group: u32, lane: u32) -> Place {
    let i = group * WORKGROUP + lane;
    // Not `i % OWN`: if OWN is 1, SwiftShader evaluates that, as a vector, to a number that is not below 1.
    let row = i - i / OWN * OWN;
    return Place(i / OWN % PLANES, row, i / (OWN * PLANES), row, row, i >= shape.work, i < shape.work);
}

fn score_mine(others: u32, first: u32, quad: u32) -> vec4f {
    return vec4f();
}

fn value_mine(others: u32, first: u32, quad: u32) -> vec4f {
    return vec4f();
}

#for j in 0..BLOCK
fn score_row_$j(mine: vec4f, others: u32, first: u32, quad: u32) -> vec4f {
    return other_scores[others + min(first + $j, OTHER - 1u) * OTHER_SCORES.w + quad];
}

fn value_row_$j(mine: vec4f, others: u32, first: u32, quad: u32) -> vec4f {
    return other_values[others + min(first + $j, OTHER - 1u) * OTHER_VALUES.w + quad];
}
#end
