// Copies samples of a data set to a batch, four words per invocation, with zeros after the last. Words are copied
// unchanged.
struct Shape {
    rows: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read> samples: array<u32>;
@group(0) @binding(3) var<storage, read_write> batch: array<vec4u>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i * 4u >= shape.rows * SAMPLE {
        return;
    }
    var words = vec4u();
    #for k in 0..4
    if i * 4u + $k < shape.rows * SAMPLE {
        let row = (i * 4u + $k) / SAMPLE;
        words[$k] = samples[indices[row] * SAMPLE + (i * 4u + $k) % SAMPLE];
    }
    #end
    batch[i] = words;
}
