// Joins partial statistics in a fixed order: one invocation for each value, or one workgroup if there are many pieces.
struct Entry { map: u32, first: u32, parts: u32 }

// Maximum number of pieces that one invocation joins.
const MOST_ALONE = 128u;

@group(0) @binding(3) var<storage, read> maps: array<IndexMap>;
@group(0) @binding(4) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(5) var<storage, read> entries: array<Entry>;
@group(0) @binding(6) var<storage, read> parts: array<f32>;

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
    let outputs = maps[entry.map].outputs;
    let pieces = maps[entry.map].all_pieces;
    let shared_by_all = pieces > MOST_ALONE;
    let output = entry.first + select(lane, 0u, shared_by_all);
    var low = 0.0;
    var high = 0.0;
    if output < outputs {
        for (var piece = select(0u, lane, shared_by_all); piece < pieces; piece += select(1u, LANES, shared_by_all)) {
            let part = parts[entry.parts + piece * outputs + output];
            if part < 0.0 {
                high -= part;
            } else {
                low += part;
            }
        }
    }
    if shared_by_all {
        let sum = joined(lane, vec4f(low, high, 0.0, 0.0));
        low = sum.x;
        high = sum.y;
    }
    if output < outputs && (lane == 0u || !shared_by_all) {
        let at = maps[entry.map].values + output;
        values[at / 4u][at % 4u] = finished(value(at), low, high, maps[entry.map].size.by);
    }
}
