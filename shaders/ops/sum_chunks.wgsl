// Sums runs of CHUNK quads, each in order, so that equal inputs always give equal sums.
struct Shape {
    quads: u32,
    sums: u32,
    scale: f32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> sums: array<vec4f>;

const CHUNK: u32 = 64u;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= (shape.sums + 3u) / 4u {
        return;
    }
    var result = vec4f(0.0);
    for (var k = 0u; k < 4u; k++) {
        let first = (i * 4u + k) * CHUNK;
        var sum = vec4f(0.0);
        for (var at = first; at < min(first + CHUNK, shape.quads); at++) {
            sum += x[at];
        }
        result[k] = (sum.x + sum.y + sum.z + sum.w) * shape.scale;
    }
    sums[i] = result;
}
