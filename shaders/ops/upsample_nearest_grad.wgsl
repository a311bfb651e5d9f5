// For each input, sums the gradients of the outputs that copy it: rows from i * REPEAT_ROWS on or, if that constant
// is 0, from entry i of the first IN_HEIGHT + 1 words of the table up to the next entry. The same for columns, whose
// entries follow. Joined with area_part.wgsl.
struct Shape {
    // Number of quads of the input.
    quads: u32,
    accumulate: u32,
    // With SPLIT: rows and columns of copies per part, number of parts along the columns, and the first part of this
    // dispatch.
    rows_per_part: u32,
    columns_per_part: u32,
    column_parts: u32,
    first_part: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> dy: array<vec4f>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read_write> dx: array<vec4f>;

fn copies_of(place: u32, repeat: u32, first: u32) -> vec2u {
    if repeat > 0u {
        return vec2u(place, place + 1u) * repeat;
    }
    return vec2u(table[first + place], table[first + place + 1u]);
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
    let rows = copies_of(i / (QUADS * IN_WIDTH) % IN_HEIGHT, REPEAT_ROWS, 0u);
    let columns = copies_of(i / QUADS % IN_WIDTH, REPEAT_COLUMNS, IN_HEIGHT + 1u);
    let image = i / (QUADS * IN_WIDTH * IN_HEIGHT);
    let area = part_of(rows, columns, workgroup.z);
    var sum = vec4f();
    for (var row = area.first.x; row < area.end.x; row++) {
        let row_at = (image * HEIGHT + row) * WIDTH;
        for (var column = area.first.y; column < area.end.y; column++) {
            sum += dy[(row_at + column) * QUADS + quad];
        }
    }
    if shape.accumulate == 1u {
        sum += dx[i];
    }
    dx[workgroup.z * shape.quads + i] = sum;
}
