// Each output row i copies the input row i / REPEAT_ROWS or, if that constant is 0, the row in entry i of the first
// HEIGHT words of the table. The same for columns, whose entries follow. Sizes are constants.
struct Shape {
    quads: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read_write> y: array<vec4f>;

fn source_of(place: u32, repeat: u32, first: u32) -> u32 {
    if repeat > 0u {
        return place / repeat;
    }
    return table[first + place];
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
    let quad = i % QUADS;
    let row = source_of(i / (QUADS * WIDTH) % HEIGHT, REPEAT_ROWS, 0u);
    let column = source_of(i / QUADS % WIDTH, REPEAT_COLUMNS, HEIGHT);
    let image = i / (QUADS * WIDTH * HEIGHT);
    y[i] = x[((image * IN_HEIGHT + row) * IN_WIDTH + column) * QUADS + quad];
}
