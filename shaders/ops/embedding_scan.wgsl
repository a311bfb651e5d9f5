// The gradient of a small table: for each quad of a row, the sum of the gradients of all positions with its index,
// found by searching all indices.
struct Shape {
    quads: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> indices: array<vec4u>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> table: array<T>;

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
    let row = i / QUADS;
    let quad = i % QUADS;
    var sum = vec4f();
    if row != PADDING {
        for (var k = 0u; k < PLACES; k += 4u) {
            let named = (indices[k / 4u] == vec4u(row)) & (vec4u(k) + vec4u(0u, 1u, 2u, 3u) < vec4u(PLACES));
            if any(named) {
                #for j in 0..4
                if named[$j] {
                    sum += dy[(k + $j) * QUADS + quad];
                }
                #end
            }
        }
    }
    store_row(row, quad, sum);
}
