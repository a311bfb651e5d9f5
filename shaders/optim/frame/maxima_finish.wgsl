// Takes over the maxima, and leaves zeros for the next step.
struct Entry { view: u32, first: u32, parts: u32 }

@group(0) @binding(3) var<storage, read> views: array<View>;
@group(0) @binding(4) var<storage, read_write> values: array<u32>;
@group(0) @binding(5) var<storage, read> entries: array<Entry>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if number >= call.len || gate.skip != 0u {
        return;
    }
    let entry = entries[call.first + number];
    let output = entry.first + lane;
    if output < views[entry.view].outputs {
        let next = views[entry.view].means + output;
        values[views[entry.view].values + output] = values[next];
        values[next] = 0u;
    }
}
