// The gradient of softmax or log-softmax, from its output. Lines as in softmax.wgsl; y and dy are zero in the
// padding.
struct Shape {
    lines: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> y: array<vec4f>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4f>;

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
    var sum = vec4f(0.0);
    for (var start = team.member; start < COUNT; start += RUN * TEAM) {
        var run = vec4f(0.0);
        for (var k = start; k < min(start + RUN * TEAM, COUNT); k += TEAM) {
            let at = first + k * STRIDE;
            run += term_of(y[at], dy[at]);
        }
        sum += run;
    }
    sum = team_sum(team, sum);
    if ALONG_COLUMNS != 0u {
        sum = vec4f(sum.x + sum.y + sum.z + sum.w);
    }
    if team.line >= shape.lines {
        return;
    }
    for (var k = team.member; k < COUNT; k += TEAM) {
        let at = first + k * STRIDE;
        var value = select(vec4f(0.0), slope_of(y[at], dy[at], sum), is_column(at));
        if shape.accumulate != 0u {
            value += dx[at];
        }
        dx[at] = value;
    }
}
