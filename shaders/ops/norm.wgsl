// A normalisation of whole lines: an invocation finds the statistic of one, keeps it, and writes the line.
// What becomes of each quad is in `finish`, which is appended.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let line = index_of(workgroup, workgroups, lane, 64u);
    if line >= shape.work {
        return;
    }
    let statistic = keep(line, moments_of(line, 0u, shape.count));
    let first = first_of_line(line);
    for (var k = 0u; k < shape.count; k++) {
        let i = quad_of(first, k);
        let value = normalized(x[i], statistic) * weight_of(i) + bias_of(i);
        y[i] = finish(i, select(vec4f(0.0), value, is_element(i)));
    }
}
