// Updates an average of buffers, such as running statistics, as frame/average.wgsl, with the constants of one segment
// of tensors.
struct Buffers { first: u32, len: u32 }

@group(0) @binding(0) var<uniform> call: Buffers;
@group(0) @binding(1) var<uniform> hyper: Hyper;
@group(0) @binding(2) var<uniform> gate: Gate;
@group(0) @binding(3) var<storage, read> buffers: array<vec4f>;
@group(0) @binding(4) var<storage, read_write> averages: array<vec4f>;

const AVERAGING_COUNTS = 2u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (group.y * groups.x + group.x) * 64u + lane;
    if i >= call.len || gate.skip != 0u || (hyper.averaging & AVERAGING_COUNTS) == 0u {
        return;
    }
    let at = call.first + i;
    let next = buffers[at];
    let average = averages[at];
    let change = 0.5 * next - 0.5 * average;
    let near = select(
        average + (2.0 * hyper.averaging_weight) * change,
        next - (2.0 * hyper.averaging_beta) * change,
        hyper.averaging_weight > 0.5,
    );
    averages[at] = select(near, next, hyper.averaging_weight == 1.0);
}
