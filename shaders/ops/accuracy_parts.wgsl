// For each part of long rows of logits, the first maximum and its class, in four lanes.
struct Shape {
    parts: u32,
    classes: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> logits: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> parts: array<vec4u>;

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
        let at = first + k * STEP;
        best = better(best, best_of_quad(logits[at], at % COUNT, shape.classes));
    }
    best = team_best(team, best);
    if team.member != 0u || team.line >= shape.parts {
        return;
    }
    parts[2u * i] = best.rank;
    parts[2u * i + 1u] = best.place;
}
