// Joins the parts of rows from accuracy_parts.wgsl to fewer parts. The last join also joins the four lanes.
struct Shape {
    parts: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> parts: array<vec4u>;
@group(0) @binding(2) var<storage, read_write> joined: array<vec4u>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let team = team_of(workgroup, workgroups, lane);
    #for alone in 0..ALONE
    if team.line >= shape.parts {
        return;
    }
    #end
    let i = min(team.line, shape.parts - 1u);
    let first = first_of(i, team.member);
    let length = length_of(i, team.member);
    var best = Best(vec4u(0u), vec4u(0u));
    for (var k = 0u; k < length; k++) {
        let at = 2u * (first + k * STEP);
        best = better(best, Best(parts[at], parts[at + 1u]));
    }
    best = team_best(team, best);
    if JOIN_LANES != 0u {
        best = best_lane(best);
    }
    if team.member != 0u || team.line >= shape.parts {
        return;
    }
    joined[2u * i] = best.rank;
    joined[2u * i + 1u] = best.place;
}
