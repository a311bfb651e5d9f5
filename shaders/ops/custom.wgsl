// The frame of each function of a user's own op: `gradus_element(i)` is element `i`, in torch's order, of the value that
// lies in `gradus_target`, rows of quads padded with zeros.
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
