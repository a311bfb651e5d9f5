// output = left * right + bias on GPUs: a workgroup sums a tile of the output, staged in workgroup memory by
// `shared/tile.wgsl`. The sums are passed to `finish`, which is appended.
//
// Constants: those of `shared/tile.wgsl`, EDGES_EVEN if rows and columns are whole tiles, BATCH_TILES per matrix,
// STEPS per repeat.
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_index) lane: u32) {
    if group.y * shape.grid_width + group.x >= shape.tiles {
        return;
    }
    let work = work_of(group);
    sum_tile(work, lane, work.row, work.column, work.first, work.end);
}
