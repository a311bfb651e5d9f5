// Lanes that share lines: TEAM lanes per line, LINES lines per workgroup. Adjacent lanes have adjacent lines
// (`ACROSS`), or are members of one line.
struct Team {
    // The number of the line, or of the part of one. Can be past the last.
    line: u32,
    // The number of the lane within its line.
    member: u32,
    // The index at which this lane stores its value, and that of the first member.
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
