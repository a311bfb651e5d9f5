// Moments of parts of lines: of elements, or of parts that a dispatch before left. Of whole lines (`LAST`) it keeps the
// statistic.
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
    leave(i, line, moments_of(line, start, min(start + shape.length, shape.count)));
}
