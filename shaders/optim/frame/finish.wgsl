// Joins pieces of values, in their order.
struct Entry { view: u32, first: u32, parts: u32 }

@group(0) @binding(3) var<storage, read> views: array<View>;
@group(0) @binding(4) var<storage, read_write> values: array<vec4f>;
@group(0) @binding(5) var<storage, read> entries: array<Entry>;
@group(0) @binding(6) var<storage, read> parts: array<f32>;

@compute @workgroup_size(128)
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
    let outputs = views[entry.view].outputs;
    if output >= outputs {
        return;
    }
    var total = vec4f();
    for (var piece = 0u; piece < views[entry.view].all_pieces; piece++) {
        total = gathered(total, vec4f(parts[entry.parts + piece * outputs + output], 0.0, 0.0, 0.0));
    }
    let at = views[entry.view].values + output;
    values[at / 4u][at % 4u] = finished(value(at), total.x, views[entry.view].size.by);
}
