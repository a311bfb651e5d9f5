// The mean of each window of an adaptive pooling. Joined with even_windows.wgsl and area_part.wgsl. Sizes are
// constants.
struct Shape {
    // Number of quads of the output.
    quads: u32,
    accumulate: u32,
    // With SPLIT: rows and columns of a window per part, number of parts along the columns, and the first part of
    // this dispatch.
    rows_per_part: u32,
    columns_per_part: u32,
    column_parts: u32,
    first_part: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> x: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> y: array<vec4f>;

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
    let rows = range_of(i / (QUADS * WIDTH) % HEIGHT, ROWS_TAKEN, ROWS_MADE);
    let columns = range_of(i / QUADS % WIDTH, COLUMNS_TAKEN, COLUMNS_MADE);
    let image = i / (QUADS * WIDTH * HEIGHT);
    let area = part_of(rows, columns, workgroup.z);
    var sum = vec4f();
    for (var row = area.first.x; row < area.end.x; row++) {
        let row_at = (image * IN_HEIGHT + row) * IN_WIDTH;
        for (var column = area.first.y; column < area.end.y; column++) {
            sum += x[(row_at + column) * QUADS + quad];
        }
    }
    y[workgroup.z * shape.quads + i] = sum / f32((rows.y - rows.x) * (columns.y - columns.x));
}
