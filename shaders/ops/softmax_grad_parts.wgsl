// For each part of long lines, the sum that the gradient of their softmax needs; y and dy are zero in the padding.
struct Shape {
    parts: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> y: array<vec4f>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> sums: array<vec4f>;

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
        let at = first + k * STEP;
        sum += term_of(y[at], dy[at]);
    }
    sums[i] = sum;
}
