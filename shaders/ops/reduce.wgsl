// Entry point of reductions over axes. The appended text declares the operands and `compute`, in which the lanes of a
// line join its steps, and the first lane stores quad (or element) `i` of the result.
struct Shape {
    quads: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

// Number of lanes that join one line.
const LANES: u32 = TEAM * PARTS;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let team = team_of(workgroup, workgroups, lane);
    #for alone in 0..ALONE
    if team.line >= shape.quads {
        return;
    }
    #end
    compute(team, min(team.line, shape.quads - 1u));
}
