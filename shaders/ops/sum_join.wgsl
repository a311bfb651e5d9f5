// Adds partial sums of lines to fewer parts. The last join also adds the four lanes, if they are columns of one line
// (`JOIN_LANES`).
struct Shape {
    parts: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> parts: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> joined: array<vec4f>;

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
    var sum = vec4f(0.0);
    for (var k = 0u; k < length; k++) {
        sum += parts[first + k * STEP];
    }
    sum = team_sum(team, sum);
    if JOIN_LANES != 0u {
        sum = vec4f(sum.x + sum.y + sum.z + sum.w);
    }
    if team.member != 0u || team.line >= shape.parts {
        return;
    }
    joined[i] = sum;
}
