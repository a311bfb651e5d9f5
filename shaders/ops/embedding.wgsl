// The row of the table for each index. An index out of range gives NaN, so that the error is visible.
struct Shape {
    quads: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> indices: array<u32>;
@group(0) @binding(2) var<storage, read> table: array<T>;
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
    let index = indices[i / QUADS];
    let column = vec4u(i % QUADS * 4u) + vec4u(0u, 1u, 2u, 3u);
    let row = load_row(min(index, ROWS - 1u), i % QUADS);
    // A NaN that compilers cannot recognise as a constant.
    let unknown = bitcast<vec4f>(vec4u(index) | vec4u(0x7fc00000u));
    y[i] = select(vec4f(), select(unknown, row, index < ROWS), column < vec4u(COLUMNS));
}
