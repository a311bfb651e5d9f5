// Like softmax.wgsl, for a long row, from the joined parts of the row.
@group(0) @binding(5) var<storage, read> lines: array<vec4f>;
@group(0) @binding(6) var<storage, read> weighted_sums: array<vec4f>;

fn largest_of(team: Team, row: u32) -> f32 {
    return lines[2u * row].x;
}

fn sum_of_exponentials(team: Team, row: u32, largest: f32) -> f32 {
    return lines[2u * row + 1u].x;
}

fn weighted_sum(team: Team, row: u32, largest: f32, log_sum: f32) -> f32 {
    return weighted_sums[row].x;
}
