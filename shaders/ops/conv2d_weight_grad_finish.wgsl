// Adds the partial sums of weight gradients in order and writes them as OIHW, together with the bias gradients.
// Processes jobs for several tensors, see jobs.wgsl, which is appended. For a grouped convolution, the rows of
// partial sums are the channels of the band of each vec4 of output channels. LANES is the workgroup size; FLAGS are
// the flags of `Job` that any job of the dispatch sets.
struct Shape {
    invocations: u32,
    // Maximum number of partial sums of a job.
    most_parts: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read_write> tensor0: array<f32>;
@group(0) @binding(2) var<storage, read_write> tensor1: array<f32>;
@group(0) @binding(3) var<storage, read_write> tensor2: array<f32>;
@group(0) @binding(4) var<storage, read_write> tensor3: array<f32>;
@group(0) @binding(5) var<storage, read_write> tensor4: array<f32>;
@group(0) @binding(6) var<storage, read> table: array<vec4u>;
@group(0) @binding(7) var<storage, read> arena: array<vec4f>;

const NOWHERE: u32 = 0xffffffffu;

struct Job {
    weight: u32,
    bias: u32,
    out_channels: u32,
    in_channels: u32,
    taps: u32,
    group_inputs: u32,
    group_outputs: u32,
    is_grouped: bool,
    accumulate: bool,
    accumulate_bias: bool,
    // Including padding, as in the partial sums.
    inner: u32,
    outer_vectors: u32,
    parts: u32,
}

fn job_of(row: u32) -> Job {
    let tensors = table[row].zw;
    let sizes = table[row + 1u];
    let groups = table[row + 2u];
    let sums = table[row + 3u];
    let flags = vec3<bool>((FLAGS & 4u) != 0u, (FLAGS & 8u) != 0u, (FLAGS & 16u) != 0u)
        & ((vec3u(groups.z) & vec3u(4u, 8u, 16u)) != vec3u());
    return Job(tensors.x, tensors.y, sizes.x, sizes.y, sizes.z * sizes.w, groups.x, groups.y, flags.x, flags.y, flags.z,
        groups.w, sums.x, sums.y);
}

// The row in the weight for an output channel (`lane` of the vec4 from `channel` on) and an input channel.
fn row_of_weight(job: Job, channel: u32, lane: u32, inner: u32) -> u32 {
    if !job.is_grouped {
        return (channel + lane) * job.in_channels + inner;
    }
    let band_first = channel / job.group_outputs * job.group_inputs / 4u * 4u;
    // Channels of earlier groups wrap to large numbers.
    let in_group = band_first + inner - (channel + lane) / job.group_outputs * job.group_inputs;
    return select(NOWHERE, (channel + lane) * job.group_inputs + in_group, in_group < job.group_inputs);
}

fn put(number: u32, at: u32, value: f32) {
    #for t in 0..TENSORS
    if number == $t {
        tensor$t[at] = value;
    }
    #end
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let of_group = (group.y * shape.grid_width + group.x) * LANES;
    let at = row_of(of_group);
    let job = job_of(at);
    let index = of_group + id.x - table[at].x;
    let row = index / job.outer_vectors;
    let channel = (index - row * job.outer_vectors) * 4u;
    let tap = row / job.inner;
    let inner = row - tap * job.inner;
    let is_weight = tap < job.taps && (inner < job.in_channels || job.is_grouped);
    let is_bias = row == job.taps * job.inner && job.bias != NOWHERE;
    if !(is_weight || is_bias) {
        return;
    }
    let part_len = (job.taps * job.inner + 1u) * job.outer_vectors;
    let first = table[at].y + index;
    var sum = arena[first];
    for (var part = 1u; part < min(job.parts, shape.most_parts); part++) {
        sum += arena[first + part * part_len];
    }
    let number = select(job.weight, job.bias, is_bias);
    let adds = select(job.accumulate, job.accumulate_bias, is_bias);
    // As many as exist instead of four, so that compilers keep it a loop; that shortens a CPU adapter's first step.
    let lanes = min(4u, max(job.out_channels, channel) - channel);
    for (var lane = 0u; lane < lanes; lane++) {
        let weight_row = row_of_weight(job, channel, lane, inner);
        if is_bias || weight_row != NOWHERE {
            let to = select(weight_row * job.taps + tap, channel + lane, is_bias);
            var value = sum[lane];
            if adds {
                value += tensor_value(number, to);
            }
            put(number, to, value);
        }
    }
}
