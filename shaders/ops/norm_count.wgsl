// Increments the number of batches, after the running statistics have been updated.
struct Shape {
    batches: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> num_batches_tracked: array<f32>;

@compute @workgroup_size(1)
fn main() {
    num_batches_tracked[0] += f32(shape.batches);
}
