// output = left * right + bias for GPUs: a workgroup sums a tile of the output, staged in workgroup memory by
// `shared/tile.wgsl`.
// What becomes of the sums is in `finish`, which is appended.
//
// Constants: those of `shared/tile.wgsl`, EDGES_EVEN if rows and columns come in whole tiles, BATCH_TILES of a matrix,
// STEPS of a repeat.
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    if group.y * shape.grid_width + group.x >= shape.tiles {
        return;
    }
    let work = work_of(group);
    sum_tile(work, lane, work.row, work.column, work.first, work.end);
}
