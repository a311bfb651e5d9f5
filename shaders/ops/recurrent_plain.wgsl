// A step of a recurrent layer that assumes nothing: an invocation computes all gates of one unit for one sample. The
// cell's `finish` makes its state of the sums.
//
// Constants: GATES of the cell, HIDDEN units, PITCH of a row of states.
@group(0) @binding(2) var<storage, read> weight: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.batch * PITCH {
        return;
    }
    let unit = i % PITCH;
    let sample = i / PITCH;
    let own = min(unit, HIDDEN - 1u);
    let state_at = (shape.state_row + sample * shape.state_stride) * PITCH;
    var sum = bias_of(own);
    for (var k = 0u; k < HIDDEN; k += 2u) {
        // Past the last unit, that one again, times zero.
        let next = min(k + 1u, HIDDEN - 1u);
        let here = states[state_at + k];
        let there = select(0.0, states[state_at + next], k + 1u < HIDDEN);
        #for g in 0..GATES
        sum[$g] = fma(here, weight[($g * HIDDEN + own) * HIDDEN + k], sum[$g]);
        sum[$g] = fma(there, weight[($g * HIDDEN + own) * HIDDEN + next], sum[$g]);
        #end
    }
    finish(sample, unit, sum);
}
