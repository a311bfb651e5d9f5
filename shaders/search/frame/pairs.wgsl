// One workgroup for each tile of 4 by 4 pairs of dimensions that are not above the diagonal: the sum over all members of
// `STAGE_row` times `STAGE_column`, which are of four dimensions, goes to `STAGE`.
var<workgroup> parts: array<vec4f, 256>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let tile = group.y * groups.x + group.x;
    let tiles = (run.dimensions + 3u) / 4u;
    let first_row = 4u * (tile % tiles);
    let first_column = 4u * (tile / tiles);
    let is_below = first_row >= first_column && first_column < run.dimensions;
    var sum_x = vec4f();
    var sum_y = vec4f();
    var sum_z = vec4f();
    var sum_w = vec4f();
    if is_below {
        for (var member = lane; member < run.members; member += 64u) {
            let rows_of = STAGE_row(member, first_row);
            let columns_of = STAGE_column(member, first_column);
            sum_x += rows_of * columns_of.x;
            sum_y += rows_of * columns_of.y;
            sum_z += rows_of * columns_of.z;
            sum_w += rows_of * columns_of.w;
        }
    }
    parts[4u * lane] = sum_x;
    parts[4u * lane + 1u] = sum_y;
    parts[4u * lane + 2u] = sum_z;
    parts[4u * lane + 3u] = sum_w;
    workgroupBarrier();
    let row = first_row + lane % 4u;
    let column = first_column + lane / 4u;
    if is_below && lane < 16u && row < run.dimensions && column <= row {
        var sum = 0.0;
        for (var other = 0u; other < 64u; other++) {
            sum += parts[4u * other + lane / 4u][lane % 4u];
        }
        STAGE(row, column, sum);
    }
}
