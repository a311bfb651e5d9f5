// Adds up sums of parts of lines to fewer parts; the four lanes too if those are columns of one line and this is the
// last join (`JOIN_LANES`).
struct Shape {
    parts: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> parts: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> joined: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.parts {
        return;
    }
    let first = first_of(i);
    let length = length_of(i);
    var sum = vec4f(0.0);
    for (var k = 0u; k < length; k++) {
        sum += parts[first + k * STEP];
    }
    if JOIN_LANES != 0u {
        sum = vec4f(sum.x + sum.y + sum.z + sum.w);
    }
    joined[i] = sum;
}
