// Packs OIHW weights as [ky][kx][inner][outer], padded with zeros, and a row of bias behind each: of several tensors, as
// jobs.wgsl says, which is appended. Of a grouped convolution, inner counts from the first channel of the band of each vec4
// of outer. Taps may stand in the order of phases.wgsl.
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
@group(0) @binding(6) var<storage, read> table: array<u32>;
@group(0) @binding(7) var<storage, read_write> arena: array<vec4f>;

struct Job {
    weight: u32,
    bias: u32,
    out_channels: u32,
    in_channels: u32,
    kernel_height: u32,
    kernel_width: u32,
    group_inputs: u32,
    group_outputs: u32,
    // Not: inner = input channels, for the forward pass. Else inner = output channels, for the input gradient.
    transposed: bool,
    // Both kernel axes.
    flipped: bool,
    is_grouped: bool,
    is_phased: bool,
    // Padded.
    inner: u32,
    outer_vectors: u32,
    // Of taps, where they stand in the order of phases.
    classes: vec2u,
}

fn job_of(row: u32) -> Job {
    let flags = table[row + 10u];
    return Job(table[row + 2u], table[row + 3u], table[row + 4u], table[row + 5u], table[row + 6u], table[row + 7u],
        table[row + 8u], table[row + 9u], (flags & 1u) != 0u, (flags & 2u) != 0u, (flags & 4u) != 0u, (flags & 32u) != 0u,
        table[row + 11u], table[row + 12u], vec2u(table[row + 13u], table[row + 14u]));
}

fn weight_at(job: Job, ky: u32, kx: u32, inner: u32, outer: u32) -> f32 {
    let outer_each = select(job.group_outputs, job.group_inputs, job.transposed);
    let inner_each = select(job.group_inputs, job.group_outputs, job.transposed);
    let band = outer / 4u * 4u / outer_each * inner_each / 4u * 4u;
    let summed = inner + select(0u, band, job.is_grouped);
    let o = select(outer, summed, job.transposed);
    let c = select(summed, outer, job.transposed);
    let y = select(ky, job.kernel_height - 1u - ky, job.flipped);
    let x = select(kx, job.kernel_width - 1u - kx, job.flipped);
    let meets = !job.is_grouped || o / job.group_outputs == c / job.group_inputs;
    let inside = o < job.out_channels && c < job.in_channels && meets;
    let row = select(o * job.in_channels + c, o * job.group_inputs + c % job.group_inputs, job.is_grouped);
    let at = (row * job.kernel_height + y) * job.kernel_width + x;
    return select(0.0, tensor_value(job.weight, select(0u, at, inside)), inside);
}

fn bias_at(job: Job, channel: u32) -> f32 {
    let channels = select(job.out_channels, job.in_channels, job.transposed);
    let inside = channel < channels;
    return select(0.0, tensor_value(job.bias, select(0u, channel, inside)), inside);
}

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3u, @builtin(local_invocation_id) id: vec3u) {
    let invocation = (group.y * shape.grid_width + group.x) * LANES + id.x;
    let at = row_of(invocation);
    let job = job_of(at);
    let index = invocation - table[at];
    let row = index / job.outer_vectors;
    let outer = index % job.outer_vectors * 4u;
    let rows = job.kernel_height * job.kernel_width * job.inner;
    if row > rows {
        return;
    }
    let inner = row % job.inner;
    var tap = vec2u(row / (job.inner * job.kernel_width), row / job.inner % job.kernel_width);
    if job.is_phased && row < rows {
        tap = tap_at(row / job.inner, vec2u(job.kernel_height, job.kernel_width), job.classes);
    }
    var packed = vec4f();
    for (var lane = 0u; lane < 4u; lane++) {
        var value = 0.0;
        if row < rows {
            value = weight_at(job, tap.x, tap.y, inner, outer + lane);
        } else {
            value = bias_at(job, outer + lane);
        }
        packed = select(packed, vec4f(value), vec4u(0u, 1u, 2u, 3u) == vec4u(lane));
    }
    arena[table[at + 1u] + index] = packed;
}
