// The gradient of a softmax, or of its logarithm, from the output. Lines are walked as in softmax.wgsl; y and dy are zero
// in the padding.
struct Shape {
    lines: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> y: array<vec4f>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.lines {
        return;
    }
    let first = i / STRIDE * (COUNT * STRIDE) + i % STRIDE;
    var sum = vec4f(0.0);
    for (var start = 0u; start < COUNT; start += RUN) {
        var run = vec4f(0.0);
        for (var k = start; k < min(start + RUN, COUNT); k++) {
            let at = first + k * STRIDE;
            run += term_of(y[at], dy[at]);
        }
        sum += run;
    }
    if ALONG_COLUMNS != 0u {
        sum = vec4f(sum.x + sum.y + sum.z + sum.w);
    }
    for (var k = 0u; k < COUNT; k++) {
        let at = first + k * STRIDE;
        var value = select(vec4f(0.0), slope_of(y[at], dy[at], sum), is_column(at));
        if shape.accumulate != 0u {
            value += dx[at];
        }
        dx[at] = value;
    }
}
