// Means of values, one a workgroup.
struct Mean { first: u32, stride: u32, count: u32, place: u32 }

@group(0) @binding(3) var<storage, read_write> values: array<f32>;
@group(0) @binding(4) var<storage, read> entries: array<Mean>;

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
    let mean = entries[call.first + number];
    var total = Gathered(vec4f(), vec4f());
    for (var i = lane; i < mean.count; i += LANES) {
        total = gathered(total, vec4f(values[mean.first + i * mean.stride], 0.0, 0.0, 0.0));
    }
    let sum = joined(lane, vec4f(total.low.x, total.high.x, 0.0, 0.0));
    if lane == 0u {
        values[mean.place] = mean_of_sum(sum.x, sum.y, mean.count);
    }
}
