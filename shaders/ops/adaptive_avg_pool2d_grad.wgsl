// For each input, sums its share of the gradients of all windows that contain it. Joined with even_windows.wgsl and
// area_part.wgsl.
struct Shape {
    // Number of quads of the input.
    quads: u32,
    accumulate: u32,
    // With SPLIT: rows and columns of windows per part, number of parts along the columns, and the first part of this
    // dispatch.
    rows_per_part: u32,
    columns_per_part: u32,
    column_parts: u32,
    first_part: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read_write> dx: array<vec4f>;

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
    let rows = range_of(i / (QUADS * IN_WIDTH) % IN_HEIGHT, ROWS_MADE, ROWS_TAKEN);
    let columns = range_of(i / QUADS % IN_WIDTH, COLUMNS_MADE, COLUMNS_TAKEN);
    let image = i / (QUADS * IN_WIDTH * IN_HEIGHT);
    let area = part_of(rows, columns, workgroup.z);
    var sum = vec4f();
    for (var row = area.first.x; row < area.end.x; row++) {
        let held = range_of(row, ROWS_TAKEN, ROWS_MADE);
        let row_at = (image * HEIGHT + row) * WIDTH;
        for (var column = area.first.y; column < area.end.y; column++) {
            let beside = range_of(column, COLUMNS_TAKEN, COLUMNS_MADE);
            sum += dy[(row_at + column) * QUADS + quad] / f32((held.y - held.x) * (beside.y - beside.x));
        }
    }
    if shape.accumulate == 1u {
        sum += dx[i];
    }
    dx[workgroup.z * shape.quads + i] = sum;
}
