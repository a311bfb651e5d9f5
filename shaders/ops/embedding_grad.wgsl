// The gradient of a table: for each quad of a row, the sum of the gradients of all positions with its index, in
// order. If there are `PIECES`, whole pieces of many positions have been summed before.
struct Shape {
    quads: u32,
    accumulate: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> sorted: array<vec2u>;
@group(0) @binding(2) var<storage, read> dy: array<vec4f>;
@group(0) @binding(3) var<storage, read> starts: array<u32>;
@group(0) @binding(4) var<storage, read> pieces: array<vec4f>;
@group(0) @binding(5) var<storage, read_write> table: array<T>;

fn sum_of_pieces(first: u32, end: u32, quad: u32) -> vec4f {
    var sum = vec4f();
    for (var k = first; k < end; k++) {
        sum += pieces[k * QUADS + quad];
    }
    return sum;
}

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
    let first = starts[row];
    let end = starts[row + 1u];
    var sum = vec4f();
    if PIECES == 0u {
        sum = sum_of(first, end, quad);
    } else {
        let first_piece = (first + PIECE - 1u) / PIECE;
        let end_piece = max(end / PIECE, first_piece);
        sum = sum_of(first, min(first_piece * PIECE, end), quad);
        sum += sum_of_pieces(first_piece, end_piece, quad);
        sum += sum_of(max(end_piece * PIECE, first), end, quad);
    }
    store_row(row, quad, sum);
}
