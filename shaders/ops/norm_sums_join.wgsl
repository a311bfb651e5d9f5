// Adds parts of sums of lines, as norm_sums.wgsl leaves them.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = index_of(workgroup, workgroups, lane, 64u);
    if i >= shape.work {
        return;
    }
    let line = i % shape.lines;
    let start = i / shape.lines * shape.length;
    var sum = vec4f(0.0);
    for (var k = start; k < min(start + shape.length, shape.count); k++) {
        sum += parts[k * shape.lines + line];
    }
    left[i] = sum;
}
