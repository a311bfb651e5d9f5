// Like best_of_row.wgsl, for a long row: `logits` are the joined parts of the row.
fn best_class(team: Team, row: u32) -> u32 {
    return logits[2u * row + 1u].x;
}
