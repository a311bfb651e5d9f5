// Lanes that share lines: TEAM lanes a line, LINES lines a workgroup. Neighbouring lanes have neighbouring lines
// (`ACROSS`), or are members of one line.
struct Team {
    // The number of the line, or of the part of one: it may lie behind the last.
    line: u32,
    // The number of the lane among those of its line.
    member: u32,
    // Where it puts what it holds, and where the first member does.
    own: u32,
    first: u32,
}

fn team_of(workgroup: vec3u, workgroups: vec3u, lane: u32) -> Team {
    let first = (workgroup.y * workgroups.x + workgroup.x) * LINES;
    if ACROSS {
        return Team(first + lane % LINES, lane / LINES, lane, lane % LINES);
    }
    return Team(first + lane / TEAM, lane % TEAM, lane, lane / TEAM * TEAM);
}
