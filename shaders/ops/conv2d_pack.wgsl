// Packs OIHW weights as [ky][kx][inner][outer], padded with zeros, followed by a row of bias. Processes jobs for
// several tensors, see jobs.wgsl, which is appended. For a grouped convolution, inner counts from the first channel
// of the band of each vec4 of outer. Taps can be ordered by phase, see phases.wgsl. FLAGS are the flags of `Job` that
// any job of the dispatch sets.
struct Shape {
    invocations: u32,
    most_parts: u32,
    grid_width: u32,
}

@group(0) @binding(0) var<uniform> shape: Shape;
@group(0) @binding(1) var<storage, read> tensor0: array<f32>;
@group(0) @binding(2) var<storage, read> tensor1: array<f32>;
@group(0) @binding(3) var<storage, read> tensor2: array<f32>;
@group(0) @binding(4) var<storage, read> tensor3: array<f32>;
@group(0) @binding(5) var<storage, read> tensor4: array<f32>;
@group(0) @binding(6) var<storage, read> table: array<vec4u>;
@group(0) @binding(7) var<storage, read_write> arena: array<vec4f>;

struct Job {
    weight: u32,
    bias: u32,
    out_channels: u32,
    in_channels: u32,
    kernel: vec2u,
    group_inputs: u32,
    group_outputs: u32,
    // If false, inner = input channels, for the forward pass; if true, inner = output channels, for the input
    // gradient.
    transposed: bool,
    // Whether taps are in reverse order along both kernel axes.
    flipped: bool,
    is_grouped: bool,
    is_phased: bool,
    // Including padding.
    inner: u32,
    outer_vectors: u32,
    // Number of classes of taps along each axis, if taps are ordered by phase.
    classes: vec2u,
    // Number of taps in a kernel row that an invocation packs.
    taps_each: u32,
}

fn job_of(row: u32) -> Job {
    let tensors = table[row].zw;
    let sizes = table[row + 1u];
    let groups = table[row + 2u];
    let packed = table[row + 3u];
    let flags = groups.z;
    return Job(tensors.x, tensors.y, sizes.x, sizes.y, sizes.zw, groups.x, groups.y, (flags & 1u) != 0u,
        (flags & 2u) != 0u, (FLAGS & 4u) != 0u && (flags & 4u) != 0u, (FLAGS & 32u) != 0u && (flags & 32u) != 0u,
        groups.w, packed.x, packed.yz, packed.w);
}

// Four neighbours of outer along taps: the first element of each in the tensor, and whether it exists.
struct Rows {
    tensor: u32,
    first: vec4u,
    inside: vec4<bool>,
    // Distance from one tap to the next; wraps if taps are in reverse order.
    step: u32,
}

const LANE_NUMBERS: vec4u = vec4u(0u, 1u, 2u, 3u);

fn rows_of_weight(job: Job, tap: vec2u, inner: u32, outer: u32) -> Rows {
    let lanes = outer + LANE_NUMBERS;
    var summed = vec4u(inner);
    if job.is_grouped {
        let outer_each = select(job.group_outputs, job.group_inputs, job.transposed);
        let inner_each = select(job.group_inputs, job.group_outputs, job.transposed);
        summed += vec4u(outer / 4u * 4u / outer_each * inner_each / 4u * 4u);
    }
    let o = select(lanes, summed, vec4<bool>(job.transposed));
    let c = select(summed, lanes, vec4<bool>(job.transposed));
    var inside = (o < vec4u(job.out_channels)) & (c < vec4u(job.in_channels));
    var row = o * job.in_channels + c;
    if job.is_grouped {
        inside &= o / job.group_outputs == c / job.group_inputs;
        row = o * job.group_inputs + c % job.group_inputs;
    }
    let start = select(tap, job.kernel - vec2u(1u) - tap, vec2<bool>(job.flipped));
    let first = (row * job.kernel.x + start.x) * job.kernel.y + start.y;
    return Rows(job.weight, first, inside, select(1u, 0xffffffffu, job.flipped));
}

// Each invocation packs several taps of a kernel row, so that it reads its job's data only once.
@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let of_group = (group.y * shape.grid_width + group.x) * LANES;
    let at = row_of(of_group);
    let job = job_of(at);
    let index = of_group + id.x - table[at].x;
    let row = index / job.outer_vectors;
    let vector = index - row * job.outer_vectors;
    let line = row / job.inner;
    let inner = row - line * job.inner;
    let pieces = (job.kernel.y + job.taps_each - 1u) / job.taps_each;
    let ky = line / pieces;
    let kx = (line - ky * pieces) * job.taps_each;
    // After the weight.
    let is_bias = ky == job.kernel.x;
    if ky > job.kernel.x || (is_bias && (kx > 0u || inner > 0u)) {
        return;
    }
    let outer = vector * 4u;
    let channels = select(job.out_channels, job.in_channels, job.transposed);
    var rows = Rows(job.bias, outer + LANE_NUMBERS, outer + LANE_NUMBERS < vec4u(channels), 0u);
    var taps = 1u;
    if !is_bias {
        rows = rows_of_weight(job, vec2u(ky, kx), inner, outer);
        taps = min(job.taps_each, job.kernel.y - kx);
    }
    // As many as exist instead of four, so that compilers keep it a loop; that shortens a CPU adapter's first step.
    let lanes = min(4u, max(channels, outer) - outer);
    for (var x = 0u; x < taps; x++) {
        var packed = vec4f();
        for (var lane = 0u; lane < lanes; lane++) {
            if rows.inside[lane] {
                let value = tensor_value(rows.tensor, rows.first[lane] + x * rows.step);
                packed = select(packed, vec4f(value), vec4u(lane) == LANE_NUMBERS);
            }
        }
        var place = ky * job.kernel.y + kx + x;
        if job.is_phased && !is_bias {
            place = place_of(vec2u(ky, kx + x), job.kernel, job.classes);
        }
        arena[table[at].y + (place * job.inner + inner) * job.outer_vectors + vector] = packed;
    }
}
