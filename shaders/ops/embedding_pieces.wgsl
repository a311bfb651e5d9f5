// The sums of whole pieces of `PIECE` sorted entries, for pieces with only one index.
struct Shape {
    quads: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> sorted: array<vec2u>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read_write> pieces: array<vec4f>;

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
    let first = i / QUADS * PIECE;
    if sorted[first].x != sorted[first + PIECE - 1u].x {
        return;
    }
    pieces[i] = sum_of(first, first + PIECE, i % QUADS);
}
