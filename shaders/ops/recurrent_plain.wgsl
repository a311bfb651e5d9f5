// One step of a recurrent layer on any device: the lanes of a line compute all gates of one unit for one sample. The
// cell's `finish` computes the state from the sums.
//
// Constants: GATES of the cell, HIDDEN units, PITCH of a row of states.
@group(0) @binding(2) var<storage, read> weight: array<f32>;

@compute @workgroup_size(WORKGROUP)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let team = team_of(workgroup, workgroups, lane);
    #for alone in 0..ALONE
    if team.line >= shape.batch * PITCH {
        return;
    }
    #end
    let i = min(team.line, shape.batch * PITCH - 1u);
    var unit = i % PITCH;
    var sample = i / PITCH;
    if TEAM > 1u {
        // Lanes that share a unit read adjacent weights, which the samples of a workgroup read only once.
        unit = i / shape.batch;
        sample = i % shape.batch;
    }
    let own = min(unit, HIDDEN - 1u);
    let state_at = (shape.state_row + sample * shape.state_stride) * PITCH;
    var sum = vec4f();
    if team.member == 0u {
        sum = bias_of(own);
    }
    for (var k = team.member; k < HIDDEN; k += 2u * TEAM) {
        // Past the last unit, the last one again, times zero.
        let next = min(k + TEAM, HIDDEN - 1u);
        let here = states[state_at + k];
        let there = select(0.0, states[state_at + next], k + TEAM < HIDDEN);
        #for g in 0..GATES
        sum[$g] = fma(here, weight[($g * HIDDEN + own) * HIDDEN + k], sum[$g]);
        sum[$g] = fma(there, weight[($g * HIDDEN + own) * HIDDEN + next], sum[$g]);
        #end
    }
    sum = team_sum(team, sum);
    if team.member == 0u && team.line < shape.batch * PITCH {
        finish(sample, unit, sum);
    }
}
