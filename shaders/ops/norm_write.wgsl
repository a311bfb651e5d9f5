// Normalises each quad with a known statistic, and passes it to `finish`, which is appended.
@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = team_of(workgroup, workgroups, lane).line;
    if i >= shape.quads {
        return;
    }
    let value = normalized(x[i], statistic_of(i)) * weight_of(i) + bias_of(i);
    y[i] = finish(i, select(vec4f(0.0), value, is_element(i)));
}
