// The gradient of each quad of a normalisation, from known sums.
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
    let sums = sums_at(i);
    let slope = slope_of(i, statistic_of(i), sums.plain * shape.scale, sums.product * shape.scale);
    var value = select(vec4f(0.0), slope, is_element(i));
    if shape.adds != 0u {
        value += dx[i];
    }
    dx[i] = value;
}
