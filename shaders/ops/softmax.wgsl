// The softmax, or log-softmax, along one dimension. The lanes of a line process `COUNT` quads, `STRIDE` apart: four
// adjacent lines, or one line of columns if the sum is over the columns (`ALONG_COLUMNS`). As in torch, a line whose
// maximum is not finite is NaN.
struct Shape {
    lines: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

fn largest_of(team: Team, first: u32) -> vec4f {
    var largest = x[first];
    if ALONG_COLUMNS != 0u {
        // The first column is never padding.
        largest = vec4f(largest.x);
    }
    for (var k = team.member; k < COUNT; k += TEAM) {
        let at = first + k * STRIDE;
        largest = select(largest, larger(largest, x[at]), is_column(at));
    }
    largest = team_largest(team, largest);
    if ALONG_COLUMNS != 0u {
        largest = largest_lane(largest);
    }
    return largest;
}

// Sums in runs, because a long chain of additions loses precision.
fn sum_of_exponentials(team: Team, first: u32, largest: vec4f) -> vec4f {
    var sum = vec4f(0.0);
    for (var start = team.member; start < COUNT; start += RUN * TEAM) {
        var run = vec4f(0.0);
        for (var k = start; k < min(start + RUN * TEAM, COUNT); k += TEAM) {
            let at = first + k * STRIDE;
            run += select(vec4f(0.0), exp_of_negative(x[at] - largest), is_column(at));
        }
        sum += run;
    }
    sum = team_sum(team, sum);
    if ALONG_COLUMNS != 0u {
        sum = vec4f(sum.x + sum.y + sum.z + sum.w);
    }
    return sum;
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let team = team_of(workgroup, workgroups, lane);
    #for alone in 0..ALONE
    if team.line >= shape.lines {
        return;
    }
    #end
    let i = min(team.line, shape.lines - 1u);
    let first = i / STRIDE * (COUNT * STRIDE) + i % STRIDE;
    let largest = largest_of(team, first);
    let sum = sum_of_exponentials(team, first, largest);
    if team.line >= shape.lines {
        return;
    }
    for (var k = team.member; k < COUNT; k += TEAM) {
        let at = first + k * STRIDE;
        y[at] = select(vec4f(0.0), softmax_of(x[at], largest, sum), is_column(at));
    }
}
