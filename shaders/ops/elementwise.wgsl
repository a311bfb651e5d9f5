// Entry point of all pointwise kernels. The appended text declares the operands and `compute`, which loads, computes
// and stores quad `i` of the outputs.
struct Shape {
    quads: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i < shape.quads {
        compute(i);
    }
}
