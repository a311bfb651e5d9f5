// Entry point for each function of a custom operation: `gradus_element(i)` returns element `i`, in row-major order,
// of the value in `gradus_target`, whose rows are quads padded with zeros.
@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= scalars.gradus_quads {
        return;
    }
    let column = i % GRADUS_QUADS * 4u;
    let first = i / GRADUS_QUADS * GRADUS_COLUMNS + column;
    var value = vec4f(0.0);
    #for k in 0..4
    if column + $k < GRADUS_COLUMNS {
        value[$k] = gradus_element(first + $k);
    }
    #end
    if scalars.gradus_adds != 0u {
        value += gradus_target[i];
    }
    gradus_target[i] = value;
}
