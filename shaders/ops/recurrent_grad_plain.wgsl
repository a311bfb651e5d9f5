// One backward step of a recurrent layer on any device: the lanes of a line compute the gradients of the states of
// four units for one sample. The cell's `finish` computes the gradients of their gates.
//
// Constants: GATES of the cell, HIDDEN units, PITCH of a row of states.
@group(0) @binding(1) var<storage, read> weight: array<f32>;

// The contribution of one gate's gradient to four units. Units past the end repeat the last one.
fn products(grad: f32, row: u32, units: vec4u) -> vec4f {
    let at = units + vec4u(row * HIDDEN);
    return grad * vec4f(weight[at.x], weight[at.y], weight[at.z], weight[at.w]);
}

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let team = team_of(workgroup, workgroups, lane);
    #for alone in 0..ALONE
    if team.line >= shape.batch * (PITCH / 4u) {
        return;
    }
    #end
    let i = min(team.line, shape.batch * (PITCH / 4u) - 1u);
    let quad = i % (PITCH / 4u);
    let sample = i / (PITCH / 4u);
    let units = min(vec4u(quad * 4u) + vec4u(0u, 1u, 2u, 3u), vec4u(HIDDEN - 1u));
    let at = (shape.after_row + sample * shape.row_stride) * GATES_PITCH;
    var sum = vec4f();
    let end = select(0u, HIDDEN, shape.has_after == 1u);
    for (var k = team.member; k < end; k += 2u * TEAM) {
        // Past the last row, the last one again, times zero.
        let next = min(k + TEAM, HIDDEN - 1u);
        #for g in 0..GATES
        sum += products(gate_grads[at + $g * HIDDEN + k], $g * HIDDEN + k, units);
        sum += products(select(0.0, gate_grads[at + $g * HIDDEN + next], k + TEAM < HIDDEN), $g * HIDDEN + next, units);
        #end
    }
    sum = team_sum(team, sum);
    if team.member == 0u && team.line < shape.batch * (PITCH / 4u) {
        finish(sample, quad, inside(quad, sum) + upstream_of(sample, quad));
    }
}
