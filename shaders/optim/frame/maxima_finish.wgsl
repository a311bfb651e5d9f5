// Copies the next maxima to the values, and clears them for the next step.
struct Entry { map: u32, first: u32, parts: u32 }

@group(0) @binding(3) var<storage, read> maps: array<IndexMap>;
@group(0) @binding(4) var<storage, read_write> values: array<u32>;
@group(0) @binding(5) var<storage, read> entries: array<Entry>;

@compute @workgroup_size(LANES)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = workgroup.y * workgroups.x + workgroup.x;
    if number >= call.len || gate.skip != 0u {
        return;
    }
    let entry = entries[call.first + number];
    let output = entry.first + lane;
    if output < maps[entry.map].outputs {
        let next = maps[entry.map].means + output;
        values[maps[entry.map].values + output] = values[next];
        values[next] = 0u;
    }
}
