// For each part of long lines, the sum that the gradient of softmax needs. y and dy are zero in the padding.
struct Shape {
    parts: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> y: array<vec4f>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> sums: array<vec4f>;

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
        let at = first + k * STEP;
        sum += term_of(y[at], dy[at]);
    }
    sum = team_sum(team, sum);
    if team.member != 0u || team.line >= shape.parts {
        return;
    }
    sums[i] = sum;
}
