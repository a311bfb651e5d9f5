// Like team.wgsl, with one lane per line.
struct Team {
    line: u32,
    member: u32,
}

fn team_of(workgroup: vec3u, workgroups: vec3u, lane: u32) -> Team {
    return Team((workgroup.y * workgroups.x + workgroup.x) * WORKGROUP + lane, 0u);
}
