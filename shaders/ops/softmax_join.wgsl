// Joins the parts of lines from softmax_parts.wgsl to fewer parts. The last join also joins the four lanes, if they
// are columns of one line (`JOIN_LANES`).
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
    var largest = parts[2u * first];
    for (var k = 1u; k < length; k++) {
        largest = larger(largest, parts[2u * (first + k * STEP)]);
    }
    largest = team_largest(team, largest);
    if JOIN_LANES != 0u {
        largest = largest_lane(largest);
    }
    var sum = vec4f(0.0);
    for (var k = 0u; k < length; k++) {
        let at = 2u * (first + k * STEP);
        let factor = exp_of_negative(parts[at] - largest);
        // A part with only minus infinity has a NaN sum, and is ignored next to a part with a larger maximum.
        let is_nothing = bitcast<vec4u>(parts[at]) == vec4u(0xff800000u);
        sum += select(parts[at + 1u] * factor, vec4f(0.0), is_nothing);
    }
    sum = team_sum(team, sum);
    if JOIN_LANES != 0u {
        sum = vec4f(sum.x + sum.y + sum.z + sum.w);
    }
    if team.member != 0u || team.line >= shape.parts {
        return;
    }
    joined[2u * i] = largest;
    joined[2u * i + 1u] = sum;
}
