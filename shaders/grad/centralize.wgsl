// Subtracts from each row of a gradient its mean. STAGE is SHORT (one invocation per row), WHOLE (one workgroup per
// row), or, if a row has several workgroups, SUM and then TAKE.
struct Call { rows: u32, columns: u32, pieces: u32, piece: u32 }

@group(0) @binding(0) var<uniform> call: Call;
@group(0) @binding(1) var<storage, read_write> grad: array<f32>;
// Partial sums of pieces.
@group(0) @binding(2) var<storage, read_write> parts: array<f32>;

const SHORT = 0u;
const WHOLE = 1u;
const SUM = 2u;
const TAKE = 3u;
const LANES = 256u;

var<workgroup> lanes: array<f32, LANES>;

// The sum over a workgroup, valid in all lanes.
fn joined(lane: u32, sum: f32) -> f32 {
    lanes[lane] = sum;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if lane < half {
            lanes[lane] += lanes[lane + half];
        }
        workgroupBarrier();
    }
    return lanes[0];
}

// Sums every `stride`-th element from `start` on, sixteen at a time, so that no sum is long.
fn sum_of(start: u32, end: u32, stride: u32) -> f32 {
    var total = 0.0;
    for (var first = start; first < end; first += 16u * stride) {
        var sum = 0.0;
        for (var at = first; at < min(end, first + 16u * stride); at += stride) {
            sum += grad[at];
        }
        total += sum;
    }
    return total;
}

fn take(start: u32, end: u32, stride: u32, mean: f32) {
    for (var at = start; at < end; at += stride) {
        grad[at] -= mean;
    }
}

@compute @workgroup_size(256)
fn main(
    @builtin(workgroup_id) group: vec3u,
    @builtin(num_workgroups) groups: vec3u,
    @builtin(local_invocation_index) lane: u32,
) {
    let number = group.y * groups.x + group.x;
    if STAGE == SHORT {
        let row = number * LANES + lane;
        if row < call.rows {
            let start = row * call.columns;
            let end = start + call.columns;
            take(start, end, 1u, sum_of(start, end, 1u) / f32(call.columns));
        }
        return;
    }
    if number >= call.rows * call.pieces {
        return;
    }
    let row = number / call.pieces;
    let piece = number - row * call.pieces;
    let first = row * call.columns + piece * call.piece;
    let end = min((row + 1u) * call.columns, first + call.piece);
    var sum = 0.0;
    if STAGE == TAKE {
        for (var other = lane; other < call.pieces; other += LANES) {
            sum += parts[row * call.pieces + other];
        }
    } else {
        sum = sum_of(first + lane, end, LANES);
    }
    let whole = joined(lane, sum);
    if STAGE == SUM {
        if lane == 0u {
            parts[number] = whole;
        }
        return;
    }
    take(first + lane, end, LANES, whole / f32(call.columns));
}
