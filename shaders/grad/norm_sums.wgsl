// Partial norms, 256 at a time and in order.
struct Call { parts: u32, sums: u32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read> parts: array<vec2u>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec2u>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i >= call.sums {
        return;
    }
    var total = 0.0;
    var found = 0u;
    for (var at = i * 256u; at < (i + 1u) * 256u; at++) {
        total = norm_joined(total, bitcast<f32>(parts[at].x));
        found |= parts[at].y;
    }
    sums[i] = vec2u(bitcast<u32>(total), found);
}
