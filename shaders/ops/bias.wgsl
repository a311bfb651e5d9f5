// y = x + b for each row. What becomes of it is in `finish`, which is appended.
struct Shape {
    quads: u32,
    row_quads: u32,
    columns: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> b: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) workgroup: vec3u,
    @builtin(num_workgroups) workgroups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let i = (workgroup.y * workgroups.x + workgroup.x) * 64u + lane;
    if i >= shape.quads {
        return;
    }
    var value = x[i];
    for (var k = 0u; k < 4u; k++) {
        let column = i % shape.row_quads * 4u + k;
        if column < shape.columns {
            value[k] += b[column];
        }
    }
    y[i] = finish(i, value);
}
