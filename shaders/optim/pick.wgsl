// Copies, for each run of tensors, the constants of the step that it really is: the host has computed them for every
// count of steps that may have been applied, and the gate's history says which were.
struct Pick { runs: u32, words: u32, table: u32 }

@group(0) @binding(0) var<uniform> pick: Pick;
@group(0) @binding(1) var<uniform> gate: Gate;
// The uniforms of this step. From `pick.table` on, for each run: the steps on their way that are counted, as bits of
// the history; the word at which its constants begin; and eight sets of those steps, or 0. Constants may also depend on
// whether one of a set was applied: each set doubles the rows.
@group(0) @binding(2) var<storage, read> table: array<u32>;
// 64 words a run.
@group(0) @binding(3) var<storage, read_write> picked: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i >= pick.runs * pick.words {
        return;
    }
    let run = i / pick.words;
    let word = i % pick.words;
    let entry = pick.table + run * 10u;
    var row = countOneBits(gate.history & table[entry]);
    for (var mark = 0u; mark < 8u; mark++) {
        if (gate.history & table[entry + 2u + mark]) != 0u {
            row += (countOneBits(table[entry]) + 1u) << mark;
        }
    }
    picked[run * 64u + word] = table[table[entry + 1u] + row * pick.words + word];
}
