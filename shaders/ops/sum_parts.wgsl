// The end of a split sum: adds the parts in order, then the existing value. The sums are passed to `finish`, which is
// appended.
struct Shape {
    parts: u32,
    // Number of vec4s of a part, and of elements of the output. The padding of the last vec4 is not written.
    vectors: u32,
    len: u32,
    accumulate: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> partials: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> output: array<f32>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let index = (group.y * shape.grid_width + group.x) * 64u + id.x;
    if index >= shape.vectors {
        return;
    }
    var sum = partials[index];
    for (var part = 1u; part < shape.parts; part++) {
        sum += partials[part * shape.vectors + index];
    }
    #for c in 0..4
    if index * 4u + $c < shape.len && shape.accumulate == 1u {
        sum[$c] += output[index * 4u + $c];
    }
    #end
    sum = finish(index, sum);
    #for c in 0..4
    if index * 4u + $c < shape.len {
        output[index * 4u + $c] = sum[$c];
    }
    #end
}
