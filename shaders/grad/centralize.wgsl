// Takes from each row of a gradient its mean: one invocation a row.
struct Call { rows: u32, columns: u32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read_write> grad: array<f32>;

@compute @workgroup_size(64)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = (group.y * groups.x + group.x) * 64u + lane;
    if row >= call.rows {
        return;
    }
    var sum = 0.0;
    for (var column = 0u; column < call.columns; column++) {
        sum += grad[row * call.columns + column];
    }
    let mean = sum / f32(call.columns);
    for (var column = 0u; column < call.columns; column++) {
        grad[row * call.columns + column] -= mean;
    }
}
