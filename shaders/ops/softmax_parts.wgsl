// For each part of long lines, the maximum and the sum of the exponentials of the differences to it.
struct Shape {
    parts: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> parts: array<vec4f>;

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
    var largest = x[first];
    if ALONG_COLUMNS != 0u {
        // The first column of a quad is never padding. A lane without columns has the sum 0, with another lane's
        // maximum.
        largest = vec4f(largest.x);
    }
    for (var k = 0u; k < length; k++) {
        let at = first + k * STEP;
        largest = select(largest, larger(largest, x[at]), is_column(at));
    }
    largest = team_largest(team, largest);
    var sum = vec4f(0.0);
    for (var k = 0u; k < length; k++) {
        let at = first + k * STEP;
        sum += select(vec4f(0.0), exp_of_negative(x[at] - largest), is_column(at));
    }
    sum = team_sum(team, sum);
    if team.member != 0u || team.line >= shape.parts {
        return;
    }
    parts[2u * i] = largest;
    parts[2u * i + 1u] = sum;
}
