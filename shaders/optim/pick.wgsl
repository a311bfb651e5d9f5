// Selects the constants of a step whose number the host does not know yet. The host computes them for each possible number of
// applied steps, and the gate's history tells which steps were applied.
struct Pick { segments: u32, words: u32, table: u32 }

@group(0) @binding(0) var<uniform> pick: Pick;
@group(0) @binding(1) var<uniform> gate: Gate;
// The uniforms of this step. From `pick.table` on, for each segment: the steps in flight that it counts, as bits of the history;
// the first word of its constants; and eight sets of those steps, or 0. Constants may also depend on whether any step of a set
// was applied, so each set doubles the rows.
@group(0) @binding(2) var<storage, read> table: array<u32>;
// 64 words for each segment.
@group(0) @binding(3) var<storage, read_write> picked: array<u32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= pick.segments * pick.words {
        return;
    }
    let segment = i / pick.words;
    let word = i % pick.words;
    let entry = pick.table + segment * 10u;
    var row = countOneBits(gate.history & table[entry]);
    for (var mark = 0u; mark < 8u; mark++) {
        if (gate.history & table[entry + 2u + mark]) != 0u {
            row += (countOneBits(table[entry]) + 1u) << mark;
        }
    }
    picked[segment * 64u + word] = table[table[entry + 1u] + row * pick.words + word];
}
